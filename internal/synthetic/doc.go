// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package synthetic makes clusters of any size out of nothing, as API objects,
// for benchmarks and tests that no real cluster is large enough for.
//
// The same Shape always gives the same objects. What they add up to is a cluster
// as it would run: every pod is bound, fits on its node under the scheduler's
// rules that it asks for, and is Ready; the status of every budget is what the
// disruption controller would write. In proportions it follows what large
// clusters look like: most pods are of Deployments of very different sizes, some
// of them spread over the zones or kept apart from each other, some of
// StatefulSets, some with volumes that tie them to a zone, two DaemonSets, and
// three nodes of a control plane.
package synthetic
