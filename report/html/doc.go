// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package html makes the report of a run: one HTML file that needs nothing
// else, to be read, mailed and kept.
//
// A Run is filled from the journal of a run, which is what the report believes
// where both tell the same, and from its history, which tells what a journal
// does not need to know. Write turns it into a page: no script, no network, no
// fonts or pictures from elsewhere, and the same bytes for the same input. All
// charts are SVG made here, each with the table of what it shows behind it.
// What comes from a cluster - names, messages - is text and nothing else,
// whatever is in it: html/template escapes it where it stands.
package html
