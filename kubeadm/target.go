// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/skew"
)

// Role is the part that a host has in the upgrade of its cluster.
type Role string

// The roles.
const (
	// FirstControlPlane is where kubeadm upgrade apply runs.
	FirstControlPlane Role = "first-control-plane"
	ControlPlane      Role = "control-plane"
	Worker            Role = "worker"
)

// controlPlane tells whether the role has static pods of the control plane.
func (r Role) controlPlane() bool { return r == FirstControlPlane || r == ControlPlane }

// needs tells whether a host of the role runs a container of the image, one of those
// that kubeadm names.
func (r Role) needs(image string) bool {
	if r.controlPlane() {
		return true
	}
	name := image[strings.LastIndexByte(image, '/')+1:]
	name, _, _ = strings.Cut(name, ":")
	return slices.Contains([]string{"kube-proxy", "pause", "coredns"}, name)
}

// Target is where one host is to be moved, and how.
type Target struct {
	// Run and Node name the units on the host: see Step.Do.
	Run, Node string
	Role      Role
	// Version is exact, with its patch.
	Version skew.Version
	// Held are the packages that were held when the upgrade was planned; they are held
	// again after each installation. Nil means those that are found held, which is not
	// enough if an earlier attempt was cut off by a loss of power in the middle of an
	// installation.
	Held []string
	// IgnorePreflight are the checks of kubeadm that the operator said to ignore.
	IgnorePreflight []string
	// Patches is the directory on the host with the operator's patches of manifests
	// (kubeadm's --patches); empty if there are none.
	Patches string
	// ImageRepository is the cluster's (ClusterConfiguration.imageRepository); empty
	// means kubeadm's default.
	ImageRepository string
	// KubeadmDone tells that the caller knows, from its journal or the cluster, that
	// kubeadm has run to its end for this version on this host. A host alone does not
	// show that: the last phases of kubeadm change objects of the cluster.
	KubeadmDone bool
	// Begun is when this upgrade ran kubeadm on this host first; zero if it did not yet.
	Begun time.Time
	// ExternalEtcd tells that the cluster's etcd runs elsewhere.
	ExternalEtcd bool
	// Clean removes the copies of etcd's data that kubeadm leaves.
	Clean bool
}

// Check says what is wrong with the target as such.
func (t Target) Check() error {
	switch {
	case t.Run == "" || t.Node == "":
		return errors.New("the target of an upgrade has no run or no node")
	case t.Version.IsZero() || t.Version.Patch == skew.Unknown:
		return fmt.Errorf("the version %s is not exact: want one with a patch, such as v1.37.2", t.Version)
	case t.Role != FirstControlPlane && t.Role != ControlPlane && t.Role != Worker:
		return fmt.Errorf("%q is no role of a host", t.Role)
	case t.Patches != "" && !strings.HasPrefix(t.Patches, "/"):
		return fmt.Errorf("the directory of patches %q is not an absolute path", t.Patches)
	}
	for _, check := range t.IgnorePreflight {
		if check == "" || strings.ContainsAny(check, ", \t\n") || strings.HasPrefix(check, "-") {
			return fmt.Errorf("%q is no name of a preflight check of kubeadm", check)
		}
	}
	for _, name := range t.Held {
		if !slices.Contains(packageNames(), name) {
			return fmt.Errorf("%q is no package of Kubernetes that could be held", name)
		}
	}
	return nil
}

// Query returns what to ask Observe for this target; 0 parts are all.
func (t Target) Query(parts Parts) Query {
	return Query{Parts: parts, Version: t.Version, ImageRepository: t.ImageRepository}
}

// unit is the name of the unit of a step on the host. A node's name can be longer
// than a unit's may be; it is cut then, and a hash of it keeps it apart from others.
func (t Target) unit(step StepName) string {
	clean := func(text string) string {
		return strings.Map(func(c rune) rune {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
				return c
			}
			return '_'
		}, text)
	}
	node := t.Run + "-" + t.Node
	if name := clean(node); len(name) > 100 || name != node {
		h := fnv.New64a()
		h.Write([]byte(node)) // a hash never fails to take what it is given
		node = fmt.Sprintf("%.80s-%016x", name, h.Sum64())
	}
	return clean("refit-" + node + "-" + string(step) + "-" + t.Version.String())
}

// held are the packages that have to be held in the end.
func (t Target) held(s State) []string {
	if t.Held != nil {
		return inPackageOrder(t.Held)
	}
	return s.Packages.Held()
}

func inPackageOrder(names []string) []string {
	var ordered []string
	for _, name := range packageNames() {
		if slices.Contains(names, name) {
			ordered = append(ordered, name)
		}
	}
	return ordered
}
