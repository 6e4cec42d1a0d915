// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package placement judges where a pod, or rather its replacement, could run:
// what the scheduler's filters would say, node by node, on a Snapshot.
//
// A Room answers with reasons, for people. A Board answers yes or no, for who
// tries out what happens when many pods move: it is changed pod by pod. Both
// always agree.
//
// The package is pure. Judged are cordons, taints, node selectors and required node
// affinity, requests against what is free, the number of pods, host ports,
// required inter-pod affinity and anti-affinity in both directions, topology
// spread that must hold, and the nodes that volumes are tied to. Not judged,
// because a Snapshot does not tell: dynamic resources, limits on attached
// volumes, scheduler extenders, other schedulers than the default one, and
// preemption - a pod that would fit by pushing others out is said not to fit.
// The rules are those of pkg/scheduler/framework/plugins of Kubernetes v1.37.2.
package placement
