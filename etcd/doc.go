// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcd takes snapshots of etcd, tells what is in the file of one, proves that it
// can be restored, and restores it into a data directory.
//
// Save finds a healthy member that is not behind and streams a snapshot from it to a
// file, hashing while it streams. What has the file's final name is whole.
//
// A file may be damaged in any way, and the libraries that read it panic or end the
// process then: bbolt trusts the pages that it maps into memory, and etcd's server ends
// the process by itself. So everything that opens such a file runs in a process of its own,
// see Worker: whatever becomes of that process, the caller gets an error.
//
// The formats are those of etcd 3.4 to 3.7 (go.etcd.io/etcd/server/v3/storage/schema).
package etcd
