// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package soak takes clusters that chance has made through maintenance, again
// and again, and has a witness judge each run.
//
// It is a test. The seed of a trial decides everything about it: how many nodes,
// which workloads with which requests and budgets, how many nodes may be out.
// `go test ./soak` tries 20 seeds, `make soak` 200; REFIT_SOAK_SEEDS is how many,
// REFIT_SOAK_FIRST the first of them. What has failed names its seed, and with
// that as the first and a number of 1 the same is tried again.
package soak
