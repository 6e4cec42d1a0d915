// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package budget is the arithmetic of PodDisruptionBudgets, as the disruption
// controller and the Eviction API of Kubernetes do it: which pods are healthy,
// how many must be, how many may go, who uses the room up, and which pods can
// never be evicted.
//
// It is pure. Numbers follow pkg/controller/disruption/disruption.go and
// pkg/registry/core/pod/storage/eviction.go of Kubernetes v1.37.2.
package budget
