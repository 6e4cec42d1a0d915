// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/internal/phrase"
)

// identity is how the cluster of an export compares with that of the one before.
type identity int

const (
	// nobodyKnows: what told the cluster then cannot be read now.
	nobodyKnows identity = iota
	sameCluster
	otherCluster
	// otherServer: nothing told the cluster then but where it was asked, and that is somewhere else now.
	otherServer
)

// sameCluster compares UIDs, of which no two clusters have the same: that of kube-system, where it is known of both,
// and otherwise those of the namespaces that were selected. One that is the same is enough, since others may have been
// made anew. Who may read no namespace is told by where the server was asked. An export of which nothing is known, as older ones
// are, is taken for one of this cluster.
func (x *index) sameCluster(last *index) identity {
	if last.anonymous() {
		if last.server != "" && last.server != x.server {
			return otherServer
		}
		return sameCluster
	}
	if x.cluster != "" && last.cluster != "" {
		if x.cluster == last.cluster {
			return sameCluster
		}
		return otherCluster
	}
	result := nobodyKnows
	for name, uid := range x.namespaces {
		switch last.namespaces[name] {
		case uid:
			return sameCluster
		case "":
		default:
			result = otherCluster
		}
	}
	return result
}

// anonymous: no UID tells the cluster.
func (x *index) anonymous() bool { return x.cluster == "" && len(x.namespaces) == 0 }

// uids shows what is known of the cluster.
func (x *index) uids() string {
	var known []string
	if x.cluster != "" {
		known = append(known, metav1.NamespaceSystem+" "+x.cluster)
	}
	for _, name := range slices.Sorted(maps.Keys(x.namespaces)) {
		known = append(known, name+" "+x.namespaces[name])
	}
	return phrase.Few(known, 3)
}
