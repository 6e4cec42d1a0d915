// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"fmt"
	"slices"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// Method is by what versions are raised: it depends on who has put the cluster together.
type Method string

// The methods.
const (
	// Kubeadm is for control planes in static pods, by packages and kubeadm.
	Kubeadm Method = "kubeadm"
	// Units is for components that are services of systemd, by binaries.
	Units Method = "units"
	// Managed is for control planes that somebody else runs. It is never found out, but said.
	Managed Method = "managed"
)

// ParseMethod reads the name of a method; "" is that it is to be found out.
func ParseMethod(text string) (Method, error) {
	switch m := Method(text); m {
	case "", Kubeadm, Units, Managed:
		return m, nil
	}
	return "", fmt.Errorf("%q: want %s, %s or %s", text, Kubeadm, Units, Managed)
}

// method is what of a plan depends on the Method. Everything else - the way and its hops,
// the order of workers, strategies, budgets, drains, what is found in the API - is the same
// for all. A method is without state, and pure as Decide is.
type method interface {
	// foreign says why nothing could be done for this cluster by the method, as far as that
	// can be seen; nil if something could.
	foreign(d *decision) *cluster.Finding
	// see is what the way is found by, of what runs.
	see(d *decision, c skew.Components) skew.Components
	// begun tells whether a hop that brings no API server anywhere has to be taken, because
	// somebody has not finished it.
	begun(d *decision, h skew.Hop) bool
	// turns lists the visits to the control plane in a hop, in their order, and tells whether
	// kube-proxy comes along with them, on all nodes.
	turns(d *decision, h skew.Hop) (list []turn, proxies bool)
	// worker is the visit to a worker in a hop.
	worker(d *decision, node string) turn
	// serving are the steps of a visit while the node has its pods, empty those when it is
	// drained; programs are the packages or binaries that each brings. kubectl among them is
	// left alone where it is not.
	serving(d *decision, t turn) (steps []Step, programs []string)
	empty(d *decision, t turn) (steps []Step, programs []string)
	// lacks lists what a host cannot get in a version.
	lacks(h *Host, v skew.Version) []string
	// brought is the version of a component after a hop, "" if nobody knows. last is what it
	// was before, now what runs after the hop by the version-skew policy.
	brought(d *decision, r Running, last string, now skew.Components, h skew.Hop) string
	// check looks for what only clusters of the method have in the way, checkHost on one
	// machine that is worked on.
	check(d *decision)
	checkHost(d *decision, node string, h *Host)
}

// turn is a visit to a node that is to be planned.
type turn struct {
	node string
	role Role
	// kubelet tells that the node is drained, and its kubelet raised.
	kubelet bool
	// components are those that are raised, where a plan says so.
	components []string
}

// of returns what plans by the method; "" is Kubeadm.
func (m Method) of() method {
	switch m {
	case Units:
		return unitsMethod{}
	case Managed:
		return managedMethod{}
	case Kubeadm:
	}
	return kubeadmMethod{}
}

// releases are the versions of a minor that a host could be brought to, oldest first.
func releases(by method, h *Host, minor int) []skew.Version {
	var all []skew.Version
	for _, o := range h.Offers[minor].Packages {
		if o.Upstream.Minor == minor && !o.Upstream.Prerelease() && by.lacks(h, o.Upstream) == nil {
			all = append(all, o.Upstream)
		}
	}
	slices.SortFunc(all, func(a, b skew.Version) int { return cmp.Or(a.Compare(b), cmp.Compare(a.Suffix, b.Suffix)) })
	return slices.CompactFunc(all, func(a, b skew.Version) bool { return a.Compare(b) == 0 })
}
