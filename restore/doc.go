// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package restore puts a snapshot of etcd back under a control plane: on each of its
// machines a data directory is made of the snapshot and laid beside the one in use; all
// API servers are stopped, then etcd; the directories are exchanged; etcd, and then the API
// servers, are started again.
//
// It is a run with a journal, like maintenance (package run): each phase is recorded
// before it begins and when it is done on all machines, and each act finds out from the machine
// whether it is done already. Whoever resumes the run does the phase that was under way
// again, and the ones after it. The journal is on the operator's disk: nothing is kept in the etcd that
// is replaced.
//
// The revision is raised above every one that a client has seen, and what lies below it is
// marked as compacted, so that whoever watches starts anew.
//
// At every instant each machine has one whole data directory: the one that was in use is
// renamed, never removed, and the new one was synced and compared before that.
//
// Serve has an API server list what is in a snapshot, to prove it.
package restore
