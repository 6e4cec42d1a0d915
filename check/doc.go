// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package check looks over a cluster before maintenance: what would make a drain
// hang, what would be lost, what is unsafe.
//
// It is pure: a Snapshot in, Findings out. There is one file for each group of
// checks. Every Finding carries one of the Codes, which are part of the
// contract of the command line: add, never rename.
package check
