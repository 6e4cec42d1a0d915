// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vault keeps backup sets in a store: a directory, or a bucket of S3, Google Cloud
// Storage or Azure.
//
// A set is what restores a cluster: a snapshot of etcd, either whole (a full) or as the pages
// that differ from one full (a delta, see package pages; never a delta of a delta), and the files of a
// control plane's machine that no snapshot has: keys, encryption configuration, manifests. It is compressed (zstd)
// and encrypted to recipients (age), see package seal; what is known without a key stands
// in the set's manifest.
//
// In a store there are, of a set named NAME:
//
//	data/NAME/snapshot     the snapshot, compressed and encrypted
//	data/NAME/files        the files of the machine (tar), compressed and encrypted
//	manifests/NAME.json    what is in the set, with sizes and SHA-256 of the two, and a seal
//	proofs/NAME.json       when it was proven that the set can be restored, and the figures
//
// The manifest is written last and removed first, so that a set that is listed is whole. Every
// object is looked at again after it was written: stores were seen to lie. Whatever a
// process leaves that was killed has no manifest, is not listed, and is removed by a later
// Prune.
//
// A store holds the sets of one cluster.
package vault
