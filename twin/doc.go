// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package twin starts, breaks and ends embedded clusters: a real API server,
// controller manager, scheduler and etcd, with nodes whose kubelets are
// simulated. What is decided by the control plane - admission, budgets,
// scheduling, taints, leases - is decided by the real thing.
//
// The programs come from the binary refit-twin (cmd/refit-twin), which keeps
// them running; this package writes its configuration, fills the cluster and
// finds it again by name. Each twin has a directory of its own in the state
// directory, with its own certificate authorities, and listens on 127.0.0.1
// only; every connection is TLS with certificates on both sides.
//
// Who is who: the admin kubeconfig is in the group refit-twin:admins, bound to
// cluster-admin. It is not in system:masters because the API server exempts
// that group from priority and fairness, so a client could never be told to
// slow down. The maintainer kubeconfig may do what refit needs and nothing else; two
// more are for what needs a role of its own, as docs/how-to/rbac.md has it.
//
// Machines and pods behave as labels and annotations tell them, see package
// simulated; a kubelet that is stopped or whose machine reboots changes nothing
// any more, which an admission policy makes sure of.
package twin
