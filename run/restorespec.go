// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"path"
	"regexp"
)

// Restore says what a run puts back that restores etcd. Package restore carries it out;
// the nodes of such a run are the machines of the control plane, whether or not the cluster knows
// them now.
type Restore struct {
	// File is the snapshot, an absolute path on the operator's machine, SHA256 its own
	// in hexadecimal, and Revision the last one in it.
	File     string `json:"file"`
	SHA256   string `json:"sha256"`
	Revision int64  `json:"revision"`
	// Set is the name of the backup set that the file was fetched from; "" if it was not fetched.
	Set string `json:"set,omitempty"`
	// Token is that of the new cluster of members, BumpRevision what is added to the
	// revision.
	Token        string `json:"token"`
	BumpRevision uint64 `json:"bumpRevision"`
	// DataDir is where the new data directory is to be; "" exchanges it for the old one.
	DataDir string `json:"dataDir,omitempty"`
	// Members are those of etcd, by their machines, in the order of the nodes of the run.
	Members []Member `json:"members"`
	// Others are the other nodes that the cluster had before, whose kubelets are restarted, too.
	Others []string `json:"others,omitempty"`
	// Bootstrap is what the machine gets before that has nothing of a control plane; nil: it has one.
	Bootstrap *Bootstrap `json:"bootstrap,omitempty"`
}

// Source is what is restored, for people.
func (r *Restore) Source() string {
	if r.Set != "" {
		return "set " + r.Set
	}
	return r.File
}

// Bootstrap is what an empty machine gets. The run has one machine then.
type Bootstrap struct {
	// Files is a file on the operator's machine with those that are put on the other one, an absolute path, and
	// SHA256 its own in hexadecimal.
	Files  string `json:"files"`
	SHA256 string `json:"sha256"`
	// Missing are the directories that the machine did not have, each before those in it, and KubeletRan tells that
	// its kubelet was started, or tried to: so it is left if the run is given up.
	Missing    []string `json:"missing,omitempty"`
	KubeletRan bool     `json:"kubeletRan,omitempty"`
	// Members are where other members of etcd were, "host:port", and Server is where the kubelets find the API
	// server: if somebody answers there, the cluster is not gone.
	Members []Answering `json:"members,omitempty"`
	Server  string      `json:"server,omitempty"`
}

// Answering is a member of etcd that may still be there.
type Answering struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Method is how the components of a control plane are started and stopped.
type Method string

const (
	// StaticPods are kubeadm's: a component runs as long as its manifest is where the kubelet looks.
	StaticPods Method = "static-pods"
	// Units are services of systemd, named like the component.
	Units Method = "systemd"
	// Embedded is a twin, whose supervisor runs all components.
	Embedded Method = "twin"
)

func (m Method) known() bool { return m == StaticPods || m == Units || m == Embedded }

// Member is a member of etcd and its machine.
type Member struct {
	Node   string `json:"node"`
	Method Method `json:"method"`
	// File is the manifest of its static pod, or the file of its unit, or the directory of
	// its twin.
	File string `json:"file"`
	// Name, PeerURLs, ClientURLs and DataDir are etcd's own settings, with DataDir as the
	// machine sees it.
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
	DataDir    string   `json:"dataDir"`
	// CA is the file of the authority of its clients' certificates; "" without TLS.
	CA string `json:"ca,omitempty"`
	// APIServer tells that an API server runs there, too.
	APIServer bool `json:"apiServer,omitempty"`
}

var sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (r *Restore) validate(nodes []Target) error {
	switch {
	case !path.IsAbs(r.File) || !sha256Pattern.MatchString(r.SHA256):
		return fmt.Errorf("the snapshot %q with the hash %q: want an absolute path and a SHA-256", r.File, r.SHA256)
	case r.Token == "":
		return errors.New("the token of the new members is missing")
	case len(r.Members) != len(nodes):
		return fmt.Errorf("%d members on %d machines", len(r.Members), len(nodes))
	case r.DataDir != "" && !path.IsAbs(r.DataDir):
		return fmt.Errorf("the new data directory %q: want an absolute path", r.DataDir)
	}
	if b := r.Bootstrap; b != nil && (!path.IsAbs(b.Files) || !sha256Pattern.MatchString(b.SHA256) || len(nodes) != 1 || r.DataDir != "") {
		return fmt.Errorf("the files %q with the hash %q for %d machines: want an absolute path, a SHA-256, and one machine", b.Files, b.SHA256, len(nodes))
	}
	for i, m := range r.Members {
		if nodes[i].Name == "" || i > 0 && nodes[i-1].Name >= nodes[i].Name {
			return fmt.Errorf("machine %q: machines are not sorted, or named twice, or have no name", nodes[i].Name)
		}
		if m.Node != nodes[i].Name || m.Name == "" || !path.IsAbs(m.DataDir) || len(m.PeerURLs) == 0 || !m.Method.known() {
			return fmt.Errorf("member %q on machine %q is not described whole", m.Name, m.Node)
		}
	}
	return nil
}
