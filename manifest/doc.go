// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package manifest is what is known about API objects as files: what of them is the
// server's and not the user's, what controllers make by themselves, where a file goes, in
// which order objects are made again, and who owns whom.
//
// It is pure: objects go in as unstructured values, texts and decisions come out, and the
// same input gives the same bytes. Reading a cluster is package export's, changing one
// package apply's.
package manifest
