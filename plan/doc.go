// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package plan decides which nodes of a cluster may be out at the same time, in
// which order they go, and where their pods land.
//
// A World is a cluster as the planner sees it, made from a Snapshot. Decide says
// of a World which nodes may be started now: that one function drives both the
// running maintenance, which asks it again after every event, and the forecast,
// in which it is asked about a World that is only imagined. Make tries several
// orders in the forecast and returns the best one as a Plan: a value that can be
// read, saved, compared and approved.
//
// The rules that every decision keeps:
//   - never more nodes out than the Intent allows, in the cluster and in a zone;
//   - control-plane nodes one at a time;
//   - no node while the budgets of its pods are used up by others;
//   - never two members of one quorum StatefulSet out together;
//   - no node while there is no room for its pods, if waiting can make some;
//   - no node that holds itself up, because a pod without a place keeps the next one at
//     its budget, before one that does not;
//   - each pod is to move once: pods should land on nodes that are done, or that
//     are not to be maintained, so that no more nodes are out than those can take in.
//
// The package is pure: no client, no I/O, no clock; the same input gives the same
// Plan, byte for byte.
package plan
