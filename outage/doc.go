// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package outage forecasts what happens to pods when nodes go away without a
// word: which node is declared unreachable when, which pods are deleted when and
// by which rule, what replaces them and whether that fits, and what is there when
// the nodes come back.
//
// It is pure: Predict takes a Snapshot, Parameters and a Request and returns a
// Forecast; no client, no I/O, no clock. All times are seconds since the loss,
// which is the moment of the Snapshot.
//
// The rules are those of Kubernetes v1.37.2; each stands where it is applied with
// the file it was read in. In short:
//
//   - A kubelet renews its lease every 10 s. A node whose lease is silent for the
//     grace period becomes Ready=Unknown, and its pods are set to not Ready
//     (pkg/controller/nodelifecycle/node_lifecycle_controller.go).
//   - It then waits for the taint node.kubernetes.io/unreachable:NoExecute. The
//     taints of a zone are set at a rate that depends on how much of the zone is
//     gone; if all zones are gone no node is tainted, and taints are removed.
//   - From that taint on each pod has as long as its toleration says, and is then
//     deleted (pkg/controller/tainteviction/taint_eviction.go). This is no eviction
//     by the Eviction API: disruption budgets are not asked.
//   - The kubelet that should end a deleted pod is silent, so that the Pod object
//     stays, Terminating, until the node is back, or somebody deletes the Node or
//     says that it is out of service. Some controllers make a new pod at once,
//     others wait for that.
package outage
