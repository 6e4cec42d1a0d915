// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package event is the one stream in which refit tells what happens.
//
// Whoever acts (drain, run) emits Events into a Sink; whoever shows (report)
// consumes them. Nothing below the command line prints. An Event is a plain
// value that marshals to one line of JSON: that line is what `-o json` writes
// and what the journal of a run can be compared with, so its field names and
// its Types are part of the contract of the command line: add, never rename.
package event
