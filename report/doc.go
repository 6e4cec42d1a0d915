// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package report shows events to a person on a terminal, to a log, or to a
// script. It consumes what the event package defines and decides nothing.
package report
