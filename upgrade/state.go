// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// State is what an upgrade is decided from. It is of one moment, that of the Snapshot.
type State struct {
	// Cluster is the UID of namespace kube-system, which tells clusters apart.
	Cluster  types.UID
	Snapshot *cluster.Snapshot
	// Method is by what versions are raised in this cluster; "" is Kubeadm.
	Method Method
	// Config is what kubeadm keeps of the cluster; nil if it keeps nothing, or if that
	// could not be read.
	Config *Config
	// Deprecated are the deprecated APIs that somebody has asked for.
	Deprecated []DeprecatedAPI
	// Stored are the versions of custom resources in which objects are still stored,
	// and that are not served any more or deprecated.
	Stored []StoredVersion
	// Hosts are what was found on the machines, by node. A node that is not in it was
	// not looked at.
	Hosts map[string]Host
	// Backup is what is known of proven backups; nil if nobody has looked.
	Backup *Backup
	// Servers are the addresses at which API servers say that they are, sorted; read for Managed alone.
	Servers []string
	// Unseen says what could not be read, and what is not known because of that.
	Unseen []cluster.Finding
}

// Config is kubeadm's ClusterConfiguration (ConfigMap kube-system/kubeadm-config), as far
// as an upgrade depends on it, and the kubelets' common configuration beside it.
type Config struct {
	// KubernetesVersion is what kubeadm last brought the control plane to; as it stands.
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// ImageRepository is where images come from; "" is kubeadm's default.
	ImageRepository string `json:"imageRepository,omitempty"`
	// Endpoint is the address that API servers share; "" if there is none.
	Endpoint string `json:"controlPlaneEndpoint,omitempty"`
	// ExternalEtcd tells that etcd is not kubeadm's.
	ExternalEtcd bool `json:"externalEtcd,omitempty"`
	// KubeletGates are the feature gates in ConfigMap kube-system/kubelet-config.
	KubeletGates map[string]bool `json:"kubeletGates,omitempty"`
}

// DeprecatedAPI is an API that is marked as deprecated and has been asked for since an
// API server started.
type DeprecatedAPI struct {
	Group    string `json:"group,omitempty"`
	Version  string `json:"version"`
	Resource string `json:"resource"`
	// Removed is the minor that does not have it any more; zero if none is known.
	Removed skew.Version `json:"removed,omitzero"`
}

// StoredVersion is a version of a custom resource in which objects may be stored.
type StoredVersion struct {
	Definition string `json:"definition"` // the name of the CustomResourceDefinition
	Version    string `json:"version"`
	// Served tells whether the API server still gives it out; Deprecated that its
	// owners advise against it.
	Served     bool `json:"served"`
	Deprecated bool `json:"deprecated,omitempty"`
}
