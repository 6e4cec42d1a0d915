// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package export writes the objects of a cluster as files that can live in git.
//
// Read takes one consistent cut: it fixes a resource version N and lists every resource at exactly N
// (https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list), in parallel and in
// pages. What cannot be read at N, or not at all, is named in the Cut. Objects that nobody has put into the cluster are
// left out by the rules of package manifest, and counted by reason.
//
// Write puts a Cut into a directory: the same cluster gives the same bytes. It touches only files that
// its index lists, or that it makes, and never leaves a tree that looks whole and is not: the files are written aside
// first, and while they are put into place the index says so. Nothing outside of the directory is written, whatever links
// are in it.
package export
