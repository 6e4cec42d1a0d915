// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cluster reads a Kubernetes cluster into one value, the Snapshot:
// nodes, pods with their controllers, disruption budgets with the pods they
// select, volumes and versions, tied together by pointers and sorted.
//
// Read takes one from lists, all at the same resource version. Watch keeps the
// same picture fresh with informers and tells what changed. Neither decides
// anything: judgements are made, on Snapshots, by the packages above. What
// they find worth telling they tell as Findings.
package cluster
