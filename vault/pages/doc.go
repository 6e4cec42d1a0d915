// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pages tells which pages of a file differ from those of an earlier one, and
// makes the one out of the other.
//
// A database of bbolt rewrites whole pages at fixed places, so that pages compared by their
// place find nearly all that did not change; chunks cut by content find less, because
// what they contain is cut in the middle (designs/vault.md has the figures).
//
// An Index is what is kept of the earlier file, the base: a hash of each page. Write makes a delta of
// a file by the index of its base, Apply makes the file of its base and the delta. A delta is
//
//	"refit-pages/1\n", the size of the file and that of the base (8 bytes each, big-endian),
//	then runs of pages: the number of the first page, how many (8 bytes each), their content,
//	and a run of none at the end.
//
// Only the last page of a file may be shorter than Size.
package pages

// Size is how many bytes a page has. Pages of bbolt are as large as the machine's, or a multiple of that.
const Size = 4096
