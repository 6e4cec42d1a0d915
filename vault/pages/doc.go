// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pages tells what of a file is in an earlier one, and makes the one out of the other.
//
// A database of bbolt rewrites whole pages, and puts them elsewhere. Most pages are where they
// were. In those that are not, most elements are as they were: a leaf that loses one of its keys is
// written anew with all the others. So pages are compared by their place, and where they differ, the
// leaf is cut into its elements, which may be anywhere in the earlier file (designs/vault.md has the
// figures). Of a file that is no database, pages alone are compared.
//
// An Index is what is kept of the earlier file, the base: hashes of its pages and of its elements. Write
// makes a delta of a file by the index of its base, Apply makes the file of its base and the delta. A
// delta is
//
//	"refit-pages/2\n", the size of the file and that of the base (8 bytes each, big-endian),
//	then what the file consists of, from its beginning to its end, as varints of encoding/binary:
//	  2n, d: n bytes of the base, from d bytes (signed) after the place that they have in the file;
//	  2n+1:  n bytes that follow;
//	and 0 at the end.
package pages

// Size is how many bytes are compared by their place at once. Pages of bbolt are as large, or a multiple of that.
const Size = 4096
