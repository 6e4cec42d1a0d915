// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package run takes nodes through maintenance, one step after the other, so
// that it can be killed at any instant and carried on by another process.
//
// A run is described once, by its Spec, and everything that is done for it
// stands in its Journal on the operator's disk: a record before each act and
// one after it. Resuming means reading the journal, looking at the cluster
// again and skipping what is done. The journal says what refit did; whether it
// is still so is always asked of the cluster.
//
// Which nodes may be out at the same time is decided by Next, which is pure.
// Two locks keep runs apart: a Lease in the cluster, one for all operators, and
// a file lock on the journal, which tells on the operator's machine whether the
// process behind a run is alive. Neither is a fence: before each act on a node
// the node is looked at again, and writes carry its UID.
package run
