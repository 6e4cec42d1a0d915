// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package demo shows the whole of refit on a cluster of its own: it brings up a
// twin with the scenario shop, checks it, takes all of its nodes through
// maintenance in the way `refit maintain` does, and lets a witness say whether a
// budget was broken.
//
// refit works with the rights of the twin's maintainer, the witness with those
// of its administrator. The twin is called demo; the demo owns it, and removes
// what an earlier demo may have left.
package demo
