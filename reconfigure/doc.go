// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reconfigure changes flags of the API servers of a cluster of kubeadm so that
// they stay: in kubeadm's own configuration, from which the next upgrade makes the
// manifests anew, and then on each control plane, one after the other.
//
// It goes by kubeadm's documentation, "Reconfiguring a kubeadm cluster"
// (https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-reconfigure/): the
// ClusterConfiguration in the ConfigMap kube-system/kubeadm-config is changed first, and
// each manifest is what the machine's kubeadm makes of it.
//
// Nothing is recorded: what is left to do is seen in the cluster and on the machines, so
// that who is interrupted does the same again, and it carries on.
package reconfigure
