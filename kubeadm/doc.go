// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubeadm knows what has to run on one host, with apt or dnf, to move it to
// a version of Kubernetes, and what that host really runs.
//
// Observe looks at a host through a host.Machine and returns a State: packages and
// holds, repositories and what they offer, the kubelet's process, static pods and
// their containers, certificates, images, disks. Steps returns, for a Target, what
// has to be done, in order. A Step tells from a State whether it is done and, as
// plain values, which commands it consists of; Step.Do runs them. Nothing is taken
// for done because a command said so: after a step, observe again.
//
// The order on a host is that of
// https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-upgrade/.
// The steps of the stage Ahead change nothing that runs, so they can be taken on
// every host at once before the first one is touched.
package kubeadm
