// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"refit.dev/refit/internal/hint"
)

// Cluster tells clusters apart.
type Cluster struct {
	// UID is that of the namespace kube-system, "" if there is none, or if it is encrypted.
	UID string `json:"uid"`
	// EtcdID is the ID of etcd's cluster, in hex. It changes with a restore.
	EtcdID string `json:"etcdID"`
	// TokenKey is the SHA-256 of the file with the public keys by which the API server knows its own tokens
	// of service accounts, in hex; "" if it is not in the set. No two clusters share these keys - a token
	// of one would be good in the other - and no restore changes them.
	TokenKey string `json:"tokenKey,omitempty"`
}

// cluster is which one the content is of.
func (c *Content) cluster() Cluster {
	return Cluster{UID: c.Status.ClusterUID, EtcdID: c.Saved.ClusterID, TokenKey: tokenKey(c.Files)}
}

// tokenKey is the SHA-256 of what --service-account-key-file of the API server names, or else of kubeadm's file.
func tokenKey(files []File) string {
	where := "/etc/kubernetes/pki/sa.pub"
	for p, flag := range named(files) {
		if flag == "service-account-key-file" {
			where = p
		}
	}
	i := slices.IndexFunc(files, func(f File) bool { return f.Path == where })
	if i < 0 || len(files[i].Data) == 0 {
		return ""
	}
	sum := sha256.Sum256(files[i].Data)
	return hex.EncodeToString(sum[:])
}

// sure tells whether both have UIDs, which say all there is to say.
func (c Cluster) sure(other Cluster) bool { return c.UID != "" && other.UID != "" }

// same tells whether it is the same cluster. Where a UID is not known - namespaces may be encrypted in
// etcd - the keys of service accounts tell, which may be renewed, or else the ID of etcd's cluster.
func (c Cluster) same(other Cluster) bool {
	if c.sure(other) {
		return c.UID == other.UID
	}
	return c.EtcdID == other.EtcdID || c.TokenKey != "" && c.TokenKey == other.TokenKey
}

// sameCluster refuses a store with the sets of another cluster: they would be mistaken for each
// other, and retention would count them together. sworn is somebody's word that they are of this one.
func sameCluster(sets []Entry, here Cluster, sworn bool) error {
	i := len(sets) - 1
	for i >= 0 && sets[i].Manifest == nil {
		i--
	}
	if i < 0 {
		return nil
	}
	there, name := sets[i].Manifest.Cluster, sets[i].Name
	switch {
	case here.same(there):
		return nil
	case here.sure(there):
		return hint.Wrap(fmt.Errorf("%w: the UID of kube-system is %q here, and %q in set %s", ErrOtherCluster, here.UID, there.UID, name), ownPlace)
	case sworn:
		return nil
	}
	return hint.Wrap(fmt.Errorf("%w, or etcd was restored since: the ID of etcd's cluster is %s here and %s in set %s, and nothing that stays the same is known of both (the UID of kube-system cannot be read where namespaces are encrypted)",
		ErrOtherCluster, here.EtcdID, there.EtcdID, name), "if it is this cluster, save once with --same-cluster; otherwise "+ownPlace)
}

const ownPlace = "give each cluster a place of its own: another directory, bucket or prefix"
