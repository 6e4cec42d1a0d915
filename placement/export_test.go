// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

// NewBoardDense is NewBoard with another number of domains up to which each has a
// counter for each tally.
var NewBoardDense = newBoard
