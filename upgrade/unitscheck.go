// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/skew"
)

// check looks at the members of etcd, and whether the strategy is one for such clusters.
func (m unitsMethod) check(d *decision) {
	if d.intent.Strategy == Replace {
		d.add(StrategyMethod, self(), "new machines would have to be made with all of the services that workers have here, which refit does not do")
	}
	d.checkProxies()
	if !slices.ContainsFunc(d.plan.Hops, func(h Hop) bool { return len(h.ControlPlane) > 0 }) {
		return
	}
	m.checkSteps(d)
	var members, unasked []string
	alarms := map[string]bool{}
	for _, n := range d.Snapshot.Nodes {
		h := d.Hosts[n.Name]
		if !slices.ContainsFunc(h.Units, func(u Unit) bool { return u.Component == Etcd }) {
			continue
		}
		members = append(members, n.Name)
		switch e := h.Etcd; {
		case e == nil:
			unasked = append(unasked, n.Name)
		case e.Alarm != "" && !alarms[e.Alarm]: // each member tells of the whole cluster's
			alarms[e.Alarm] = true
			d.add(EtcdAlarm, self(), "etcd has raised the alarm %s", e.Alarm)
		case e.Alarm == "" && e.Problem != "":
			d.add(EtcdMember, nodeObject(n.Name), "its member of etcd is not well: %s", e.Problem)
		}
	}
	code := EtcdUnseen
	if len(members) > 1 {
		code = EtcdUnasked
	}
	for _, name := range unasked {
		d.add(code, self(), "the alarms and the health of etcd were not asked of the member on %s", name)
	}
	if len(members) == 1 {
		d.add(EtcdSingle, nodeObject(members[0]), "has the only member of etcd")
	}
}

// checkSteps looks whether each member of etcd can go where a release takes it. Versions of
// binaries that could not be asked here are looked at on their machines.
func (unitsMethod) checkSteps(d *decision) {
	for _, h := range d.plan.Hops {
		for _, v := range h.ControlPlane {
			for _, p := range v.Packages {
				if p.Name != Etcd || p.To == "" {
					continue
				}
				if why := skew.EtcdStep(p.From, p.To); why != "" {
					d.add(EtcdStep, nodeObject(v.Node), "the etcd of %s %s", h.To, why)
				}
			}
		}
	}
}

// proxyBehind is how many minors a kube-proxy may be older than an API server
// (https://kubernetes.io/releases/version-skew-policy/).
const proxyBehind = 3

// checkProxies tells of kube-proxies that are left as they are, as they are no services.
func (d *decision) checkProxies() {
	left := map[string][]string{}
	for _, r := range d.running {
		if r.Component == string(skew.KubeProxy) && !d.serves(r.Node, r.Component) && r.Version != d.plan.To.String() && len(d.plan.Hops) > 0 {
			left[r.Version] = append(left[r.Version], r.Node)
		}
	}
	for _, version := range slices.Sorted(maps.Keys(left)) {
		behind := ""
		if v, err := skew.Parse(version); err == nil && d.plan.To.Minor-v.Minor > proxyBehind {
			behind = fmt.Sprintf(": %d minors behind then, and the version-skew policy allows %d", d.plan.To.Minor-v.Minor, proxyBehind)
		}
		d.add(ProxyLeft, self(), "kube-proxy on %s runs in %s, which refit leaves at %s%s", few(left[version]),
			phrase.Plural(len(left[version]), "a pod", "pods"), version, behind)
	}
}

func (m unitsMethod) checkHost(d *decision, name string, h *Host) {
	for _, u := range h.Units {
		switch {
		case u.Wrapper != "":
			d.add(UnitWrapper, nodeObject(name), "its %s.service starts %s", u.Component, u.Wrapper)
		case u.Link:
			d.add(UnitLink, nodeObject(name), "its %s.service starts %s, which is a symbolic link, or leads over one", u.Component, u.Program)
		case u.Running == "":
			d.add(UnitDown, nodeObject(name), "its %s.service does not run", u.Component)
		case u.Problem != "" && u.Component != Etcd && u.Component != string(skew.APIServer): // told of already
			d.add(UnitDown, nodeObject(name), "its %s is not well: %s", u.Component, u.Problem)
		}
	}
	for _, v := range d.versionsOf(name) {
		m.checkBinaries(d, name, h, v)
	}
}

// checkBinaries tells of what a release lacks, and of what its binaries have against the units.
func (m unitsMethod) checkBinaries(d *decision, name string, h *Host, v skew.Version) {
	offers, asked := h.Offers[v.Minor]
	switch {
	case d.intent.Source == "":
		d.add(BinaryMissing, nodeObject(name), "nobody has said where the binaries of %s come from", v)
		return
	case offers.Problem != "":
		d.add(BinaryMissing, nodeObject(name), "the source could not be asked for 1.%d: %s", v.Minor, offers.Problem)
		return
	case !asked:
		d.add(BinaryMissing, nodeObject(name), "the source was not asked for 1.%d", v.Minor)
		return
	case v.Patch == skew.Unknown: // told of the goal, or of the hop
		return
	}
	if missing := m.lacks(h, v); len(missing) > 0 {
		d.add(BinaryMissing, nodeObject(name), "the source does not have %s %s%s", strings.Join(missing, ", "), v, d.has(h, v.Minor))
		return
	}
	var unknown []string
	need := int64(0)
	for _, o := range offers.Packages {
		if o.Upstream.Compare(v) != 0 {
			continue
		}
		need += o.Bytes
		if _, there := h.installed(o.Name); there && !hasBinary(h, v, o.Name) {
			unknown = append(unknown, o.Name)
		}
	}
	if len(unknown) > 0 {
		d.add(BinaryMissing, nodeObject(name), "%s of %s %s not read, so that %s not known", strings.Join(unknown, ", "), v,
			phrase.Plural(len(unknown), "was", "were"), phrase.Plural(len(unknown), "its sum is", "their sums are"))
	}
	for _, problem := range h.Refused[v.String()] {
		d.add(UnitRefused, nodeObject(name), "%s", problem)
	}
	for _, disk := range h.Disks {
		if disk.Available < need+roomBesideCopy {
			d.add(DiskFull, nodeObject(name), "%s has %s free, and the binaries of %s need about %s", disk.Mount, mebibytes(disk.Available), v, mebibytes(need+roomBesideCopy))
		}
	}
}

// hasBinary tells whether the sum of a binary is known.
func hasBinary(h *Host, v skew.Version, name string) bool {
	for path := range h.Binaries {
		if strings.HasPrefix(path, fmt.Sprintf("%s/", v)) && strings.HasSuffix(path, "/"+name) {
			return true
		}
	}
	return false
}
