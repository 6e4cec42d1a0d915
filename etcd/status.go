// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

// Status is what there is to know from the file of a snapshot. The first five fields have
// the names and the values of `etcdutl snapshot status -w json`.
type Status struct {
	// Hash is the CRC-32C over the names, keys and values of all buckets.
	Hash uint32 `json:"hash"`
	// Revision is that of the last change.
	Revision int64 `json:"revision"`
	// TotalKeys counts the keys that are there, and the empty one that a restore with
	// a bumped revision leaves.
	TotalKeys int `json:"totalKey"`
	// TotalSize is the size of the database in bytes, without the SHA-256 at the end.
	TotalSize int64 `json:"totalSize"`
	// Version is the storage version, such as 3.6.0; "" before etcd 3.6.
	Version string `json:"version"`

	// SHA256 is what the file ends with, in hex, which its content was compared with;
	// "" if it ends with none, as a database that was copied does.
	SHA256 string `json:"sha256,omitempty"`
	// Keys counts the keys that a client could read.
	Keys int `json:"keys"`
	// CompactRevision is the revision up to which the history is gone; -1 if none was compacted.
	CompactRevision int64 `json:"compactRevision"`
	// HashKV is what Maintenance.HashKV answers at Revision once CompactRevision is compacted.
	HashKV uint32 `json:"hashKV"`

	// Resources are those of Kubernetes, sorted by group and name.
	Resources []Resource `json:"resources"`
	// ClusterUID is the UID of the namespace kube-system, by which clusters are told apart;
	// "" if there is none.
	ClusterUID string `json:"clusterUID,omitempty"`
	// OtherKeys counts the keys that are not objects of Kubernetes.
	OtherKeys int `json:"otherKeys"`
	Leases    int `json:"leases"`
	// Alarms and Members are sorted by ID.
	Alarms  []Alarm  `json:"alarms"`
	Members []Member `json:"members"`
}

// Resource is how much there is of one resource of Kubernetes.
type Resource struct {
	// Group is the API group, "" the core group. That of built-in resources is read
	// from the objects, so it is "" too if all of them are encrypted.
	Group string `json:"group"`
	// Name is the plural by which the API server stores it.
	Name    string `json:"name"`
	Objects int    `json:"objects"`
	// Bytes is the size of keys and values as they are stored.
	Bytes int64 `json:"bytes"`
	// Encrypted counts the objects that are encrypted at rest.
	Encrypted int `json:"encrypted,omitempty"`
}

// Objects is how many objects of Kubernetes there are.
func (s *Status) Objects() int {
	n := 0
	for _, r := range s.Resources {
		n += r.Objects
	}
	return n
}

// Alarm is an alarm that a member has raised.
type Alarm struct {
	Member string `json:"member"` // its ID in hex
	Alarm  string `json:"alarm"`  // NOSPACE or CORRUPT
}

// Member is a member of the cluster, as the members know each other.
type Member struct {
	ID         string   `json:"id"` // in hex
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
	Learner    bool     `json:"learner,omitempty"`
}
