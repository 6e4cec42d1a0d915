// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package report shows events to a person on a terminal, to a log, or to a
// script. It consumes what the event package defines and decides nothing.
//
// What the events add up to (progress.go) knows nothing of its printers: a table
// that is redrawn in place (table.go, live.go), the lines of a log (plain.go), a
// stream of JSON or YAML (json.go), and the end of each text report (summary.go).
//
// Everything that comes from a cluster passes Printable, or its form for single
// lines, before it reaches a stream.
package report
