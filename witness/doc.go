// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package witness watches a cluster during maintenance and says afterwards what
// happened to its budgets and nodes. It does not trust refit: it has its own
// client and its own watches, shares no code with what it judges, and does not
// believe a budget's status either, but counts from the pods.
//
// # What is a broken budget
//
// A disruption is the moment at which a pod begins to end: it gets a deletion
// timestamp, or is deleted at once. The audit log says who asked for it. It is
// voluntary if it was an eviction, or a deletion by somebody other than the
// control plane. A pod is healthy if it is Ready and has not begun to end.
//
// A budget is broken by each voluntary disruption of a healthy pod that leaves
// fewer healthy pods than the budget's spec requires at that moment:
//
//	minAvailable N     N
//	minAvailable P%    P% of the expected pods, rounded up
//	maxUnavailable N   the expected pods - N
//	maxUnavailable P%  the expected pods - P% of them, rounded up
//
// The expected pods are the sum of the replicas that the controllers of the
// selected pods want, not the pods that exist (getExpectedPodCount in
// pkg/controller/disruption/disruption.go of Kubernetes).
//
// A pod that stops being Ready by itself, or is deleted by its controller, is no
// voluntary disruption: if such a thing takes a budget below what it requires,
// that is a dip, which is told but blames nobody. A voluntary disruption during
// a dip is a broken budget.
//
// # What is a broken quorum
//
// A StatefulSet of 3 to 9 replicas is taken for a group that needs its majority,
// with a budget or without. Its quorum is broken by each voluntary disruption of
// a healthy member that leaves fewer healthy ones than all but one. That more than
// one was away for any other reason is a lapse, which blames nobody.
//
// # Order
//
// Pods, budgets, controllers and nodes come from separate watches. All
// resource versions of one etcd are revisions of the whole of it, so the changes
// of all watches have one order, in which they are replayed afterwards. A
// cluster that keeps some kinds in another etcd cannot be judged this way.
//
// # When there is no verdict
//
// Better none than a wrong one. It is an error of the witness if a watch lost a
// part of the history; if a change does not fit the one before it; if the
// objects listed at the end are not those that the changes add up to; if a pod
// began to end and the audit log does not say by whom; if the audit log says
// that a pod was evicted or deleted and the watches saw nothing of it; if the
// replicas that a disrupted budget expects cannot be told.
//
// What remains to be believed is the API server: that a watch delivers each
// change of an object, and not just the last of several.
package witness
