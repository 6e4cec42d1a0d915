// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line: one file for each verb, which turns flags
// into a request, hands it to the package that does the work, and its outcome
// to a report. There is no logic here.
package cli
