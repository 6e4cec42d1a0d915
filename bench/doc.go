// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures refit against kubectl on the embedded cluster and
// writes what it saw to docs/benchmarks.md.
//
// Both programs do the same work on the same twin in turn, and change places
// from round to round, so that a noisy machine is noisy for both: what is
// compared is the ratio within a round, given as the median with the lowest
// and the highest. kubectl is built from the same Kubernetes module as the
// twin and needs nothing installed.
//
// API requests are counted from the API server's audit log, memory is the
// largest resident set that the kernel saw, and both are read from outside the
// program that is measured. How often pods moved, and whether a budget was
// broken, is what a witness says who watched.
//
// Upgrades are measured on real machines, see package lab, against the documented steps
// by hand; where a machine cannot carry a lab, that is left out and said.
//
// Backups and restores are measured against etcdctl and etcdutl, which are built from the
// module that builds them for labs.
//
// Planning is measured by itself, on clusters that are made up (see
// internal/synthetic), each in a process of its own.
package main
