// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"time"

	"refit.dev/refit/skew"
)

// Host is what was found on a machine: what can be seen nowhere else, as far as a
// decision depends on it.
type Host struct {
	// Problem says why the machine could not be looked at; nothing else is known then.
	Problem string `json:"problem,omitempty"`
	// Gaps are parts that could not be looked at, a sentence each.
	Gaps []string `json:"gaps,omitempty"`

	OS string `json:"os,omitempty"`
	// Packages are those of Kubernetes that are installed.
	Packages []Package `json:"packages,omitempty"`
	// Units are the components that are services of systemd; Packages are their binaries then,
	// Binaries the SHA-256 of those that are offered, by their paths in a release, and Refused
	// says of each release what its binaries have against the units.
	Units    []Unit              `json:"units,omitempty"`
	Binaries map[string]string   `json:"binaries,omitempty"`
	Refused  map[string][]string `json:"refused,omitempty"`
	// Broken are packages of any kind that are half installed.
	Broken []string `json:"broken,omitempty"`
	// Offers are what its repositories have for each minor of the way. A minor that is
	// not in it was not asked for.
	Offers map[int]Offers `json:"offers,omitempty"`
	// Automatic is what upgrades packages by itself and is active; "" if nothing is.
	// Touches are the packages of Kubernetes that it may upgrade.
	Automatic string   `json:"automatic,omitempty"`
	Touches   []string `json:"touches,omitempty"`

	Disks []Disk `json:"disks,omitempty"`
	// EtcdBytes is the size of etcd's data, which kubeadm copies on each upgrade.
	EtcdBytes int64 `json:"etcdBytes,omitempty"`
	// StaticPods are the problems of its static pods, a sentence each.
	StaticPods []string `json:"staticPods,omitempty"`
	// APIServer and Etcd are what the components of a control plane say of their health,
	// asked from the machine itself; nil where there is none, or it could not be asked.
	APIServer *Health     `json:"apiServer,omitempty"`
	Etcd      *EtcdHealth `json:"etcd,omitempty"`
	// CopiesBytes is what kubeadm has left of earlier copies.
	CopiesBytes int64 `json:"copiesBytes,omitempty"`

	Certificates []Certificate `json:"certificates,omitempty"`
	// KubeletFlags are those of its command line, "--name=value" each; KubeletGates the
	// feature gates of its configuration and flags.
	KubeletFlags []string        `json:"kubeletFlags,omitempty"`
	KubeletGates map[string]bool `json:"kubeletGates,omitempty"`
	// LocalAPIServer tells that the kubelet talks to the API server beside it alone.
	LocalAPIServer bool `json:"localAPIServer,omitempty"`
	// CgroupV1 tells that the machine has control groups of version 1, CgroupV1Allowed
	// that the kubelet's configuration allows that (failCgroupV1: false).
	CgroupV1        bool `json:"cgroupV1,omitempty"`
	CgroupV1Allowed bool `json:"cgroupV1Allowed,omitempty"`
	// Images are those in the runtime's store; ImagesListed that it could be asked.
	Images       []string `json:"images,omitempty"`
	ImagesListed bool     `json:"imagesListed,omitempty"`
	// RebootRequired is what asks for a reboot; "" if nothing does.
	RebootRequired string `json:"rebootRequired,omitempty"`
}

// Unit is a component that is a service of systemd.
type Unit struct {
	Component string `json:"component"`
	// Program is the path of its binary; Link tells that it is a symbolic link.
	Program string `json:"program"`
	Link    bool   `json:"link,omitempty"`
	// Wrapper says what is started in place of the binary; "" if it is that.
	Wrapper string `json:"wrapper,omitempty"`
	// Running is the version of its process; "" if none runs.
	Running string `json:"running,omitempty"`
	// Problem says what is not well; "" if all is, or if it could not be asked.
	Problem string `json:"problem,omitempty"`
}

// Health is what a component says of itself.
type Health struct {
	// Problem says what is not well; "" if all is.
	Problem string `json:"problem,omitempty"`
}

// EtcdHealth is what a member of etcd says of itself.
type EtcdHealth struct {
	Health
	// Alarm is raised in the cluster of etcd: NOSPACE, CORRUPT; or "".
	Alarm string `json:"alarm,omitempty"`
	// Size is that of the database in bytes, Quota the most that it may have; 0: not known.
	Size  int64 `json:"size,omitempty"`
	Quota int64 `json:"quota,omitempty"`
}

// Package is an installed package of Kubernetes.
type Package struct {
	Name string `json:"name"`
	// Version is the package manager's, with its revision.
	Version string `json:"version"`
	Held    bool   `json:"held,omitempty"`
}

// Offers are the packages of one minor that a host could install, best first.
type Offers struct {
	Packages []Offer `json:"packages,omitempty"`
	// Problem says why they are not known.
	Problem string `json:"problem,omitempty"`
}

// Offer is one version of a package.
type Offer struct {
	Name string `json:"name"`
	// Version is the package manager's: 1.37.2-1.1. Upstream is that of Kubernetes in it.
	Version  string       `json:"version"`
	Upstream skew.Version `json:"upstream"`
	// Bytes is the size of a binary; 0 if it is not known.
	Bytes int64 `json:"bytes,omitempty"`
}

// Disk is a filesystem under a directory, in bytes.
type Disk struct {
	Path      string `json:"path"`
	Mount     string `json:"mount"`
	Available int64  `json:"available"`
	// Floor is how much has to stay free, or the kubelet removes images and evicts pods.
	Floor int64 `json:"floor,omitempty"`
}

// Certificate is one in a file of the machine.
type Certificate struct {
	File     string    `json:"file"`
	Subject  string    `json:"subject,omitempty"`
	NotAfter time.Time `json:"notAfter"`
	// Authority tells that it signs others: kubeadm does not renew those.
	Authority bool `json:"authority,omitempty"`
}

// kubePackages are the packages that move with a node.
func kubePackages() []string { return []string{"kubeadm", "kubelet", "kubectl"} }

// installed returns the package of that name, and whether there is one.
func (h *Host) installed(name string) (Package, bool) {
	for _, p := range h.Packages {
		if p.Name == name {
			return p, true
		}
	}
	return Package{}, false
}

// offer returns the package's version, with its revision, for a version of
// Kubernetes: the newest revision of it; "" if the host's repositories have none.
func (h *Host) offer(name string, v skew.Version) string {
	for _, o := range h.Offers[v.Minor].Packages {
		if o.Name == name && o.Upstream.Compare(v) == 0 {
			return o.Version
		}
	}
	return ""
}
