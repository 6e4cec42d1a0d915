// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"
	"slices"
	"strings"

	"refit.dev/refit/check"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/skew"
)

// add tells about object; severity and hint are the code's.
func (d *decision) add(code string, object cluster.Object, format string, args ...any) {
	d.addHint(code, object, d.codes[code].Do, format, args...)
}

// addHint is add with a hint of its own.
func (d *decision) addHint(code string, object cluster.Object, hint, format string, args ...any) {
	f := d.finding(code, object, format, args...)
	f.Hint = hint
	d.plan.Findings = append(d.plan.Findings, f)
}

// finding tells about object; severity and hint are the code's.
func (d *decision) finding(code string, object cluster.Object, format string, args ...any) cluster.Finding {
	return cluster.Finding{Severity: d.codes[code].Severity, Code: code, Object: object, Message: fmt.Sprintf(format, args...), Hint: d.codes[code].Do}
}

// check looks for everything that is in the way of the hops.
func (d *decision) check() {
	d.checkControlPlane()
	d.checkVersions()
	d.checkNodes()
	d.by.check(d)
	d.checkBackup()
	d.checkServers()
	d.checkReplaced()
	d.checkAPIs()
	d.checkWebhooks()
	d.checkHosts()
	for _, f := range check.Run(d.Snapshot) {
		if slices.Contains(reused(), f.Code) {
			d.plan.Findings = append(d.plan.Findings, f)
		}
	}
}

func self() cluster.Object { return cluster.Object{Kind: "Cluster", Name: "cluster"} }

// moving lists the nodes that are visited, sorted.
func (d *decision) moving() []string {
	var names []string
	for _, h := range d.plan.Hops {
		for _, v := range slices.Concat(h.ControlPlane, h.Workers) {
			if v.Node != "" {
				names = append(names, v.Node)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (d *decision) checkControlPlane() {
	goal := d.plan.To
	if goal.Patch == skew.Unknown && d.Method != Managed { // whose providers choose it
		d.add(PatchUnknown, self(), "%s names no patch, and %s", goal, d.whyNoPatch())
	}
	for _, h := range d.plan.Hops {
		if h.To.Patch == skew.Unknown && h.To.Minor != goal.Minor && len(d.hostsSeen()) > 0 {
			d.add(PatchUnknown, self(), "no patch of %s, which is on the way, can be installed by every host that moves to it", h.To)
		}
	}
	if goal.Minor > newestKnown {
		d.add(MinorUnknown, self(), "this refit knows what was removed up to 1.%d, and the goal is %s", newestKnown, goal)
	}
}

func (d *decision) whyNoPatch() string {
	if seen := len(d.hostsSeen()); seen > 0 {
		return fmt.Sprintf("there is none that the %s looked at could all install", phrase.Count(seen, "host"))
	}
	return "no host was looked at to see which it could install"
}

// checkVersions tells of upgrades that were left unfinished.
func (d *decision) checkVersions() {
	servers := d.now.APIServers
	if len(servers) == 0 || len(d.plan.Hops) == 0 {
		return
	}
	oldest, newest := d.extremes()
	if oldest.Version.Compare(newest.Version) != 0 {
		d.add(UpgradeUnfinished, self(), "kube-apiserver is %s on %s and %s on %s: an upgrade of the control plane was begun", newest.Version, newest.Name, oldest.Version, oldest.Name)
	} else if late := behind(d.now, newest.Version); len(late) > 0 {
		d.add(UpgradeUnfinished, self(), "the API servers run %s, and older minors: %s", newest.Version, few(late))
	}
}

// extremes are the oldest and the newest API server; there is one.
func (d *decision) extremes() (oldest, newest skew.Instance) {
	servers := d.now.APIServers
	oldest, newest = servers[0], servers[0]
	for _, i := range servers {
		if i.Version.Compare(oldest.Version) < 0 {
			oldest = i
		}
		if i.Version.Compare(newest.Version) > 0 {
			newest = i
		}
	}
	return oldest, newest
}

// checkConfig tells of a record of kubeadm's that is not what runs.
func (d *decision) checkConfig() {
	servers := d.now.APIServers
	if len(servers) == 0 || len(d.plan.Hops) == 0 || d.Config == nil || d.Config.KubernetesVersion == "" {
		return
	}
	_, newest := d.extremes()
	v, err := skew.Parse(d.Config.KubernetesVersion)
	if err != nil || !slices.ContainsFunc(servers, func(i skew.Instance) bool { return i.Version.Compare(v) == 0 }) || v.Compare(newest.Version) != 0 {
		d.add(ConfigBehind, cluster.Object{Kind: "ConfigMap", Namespace: "kube-system", Name: configMap}, "says kubernetesVersion: %s, and the newest API server runs %s", d.Config.KubernetesVersion, newest.Version)
	}
}

// behind lists what is of an older minor than the API servers.
func behind(c skew.Components, server skew.Version) []string {
	var late []string
	for _, component := range []skew.Component{skew.ControllerManager, skew.Scheduler, skew.Kubelet, skew.KubeProxy} {
		for _, i := range c.Of(component) {
			if i.Version.Minor < server.Minor {
				late = append(late, fmt.Sprintf("%s %s on %s", component, i.Version, i.Name))
			}
		}
	}
	return late
}

// checkNodes tells of nodes that are not well, and of those that stay cordoned.
func (d *decision) checkNodes() {
	for _, name := range d.moving() {
		n := d.Snapshot.Node(name)
		if n == nil {
			continue
		}
		if !cluster.Ready(n.Node) {
			d.add(NodeNotUp, nodeObject(name), "is not Ready, and has to move")
		}
	}
	told := map[string]bool{}
	for _, h := range d.plan.Hops {
		for _, v := range slices.Concat(h.ControlPlane, h.Workers) {
			if v.StaysCordoned && !told[v.Node] {
				told[v.Node] = true
				d.plan.Findings = append(d.plan.Findings, cluster.Finding{Severity: cluster.Info, Code: check.NodeCordoned, Object: nodeObject(v.Node),
					Message: "is cordoned, not by refit: it is upgraded and stays cordoned", Hint: "If its maintenance is over: refit uncordon " + v.Node + "."})
			}
		}
	}
}

// most is how many names a message lists before it counts the rest.
const most = 3

func few(names []string) string {
	if len(names) <= most+1 { // "and 1 more" is no shorter than the one
		return strings.Join(names, ", ")
	}
	return phrase.Few(names, most)
}
