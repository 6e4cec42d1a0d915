// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"slices"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// Decide makes the plan. It never fails: what is in the way is among the findings. The
// same input gives the same plan.
func Decide(s *State, in Intent) *Plan {
	d := newDecision(s, in)
	goal := d.resolveGoal()
	d.plan.To = goal
	path, refusals := skew.FindPath(d.seen(), skew.Goal{Version: goal, Workers: in.Workers, AllowUnsupported: in.AllowUnsupported})
	for _, r := range refusals {
		object := cluster.Object{Kind: "Cluster", Name: "cluster"}
		if r.Instance.Name != "" {
			object = nodeObject(r.Instance.Name)
		}
		d.addHint(codeOf(r.Reason), object, r.Hint, "%s", r.Message)
	}
	foreign := d.by.foreign(d)
	if foreign != nil {
		d.plan.Findings = append(d.plan.Findings, *foreign)
		path = skew.Path{} // there is nothing that refit could do
	}
	if last := (skew.Hop{To: goal}); len(refusals) == 0 && len(path.Hops) == 0 && foreign == nil && d.by.begun(d, last) {
		path.Hops = append(path.Hops, last)
	}
	d.resolveHops(path)
	d.makeHops(path)
	d.collectBinaries()
	d.describe(path)
	d.check()
	cluster.SortFindings(d.plan.Findings)
	d.plan.Findings = slices.Compact(d.plan.Findings)
	for _, h := range d.plan.Hops {
		d.plan.Seconds += h.Seconds
	}
	return d.plan
}

// decision is a Plan in the making.
type decision struct {
	*State
	by      method
	intent  Intent
	plan    *Plan
	running []Running
	now     skew.Components
	codes   map[string]cluster.Code
	// moved is what earlier hops have brought, by node and package.
	moved map[[2]string]string
}

func newDecision(s *State, in Intent) *decision {
	d := &decision{State: s, by: s.Method.of(), intent: in, codes: map[string]cluster.Code{}, moved: map[[2]string]string{}}
	for _, c := range Codes() {
		d.codes[c.Name] = c
	}
	d.running = s.running()
	d.now = components(s.Snapshot, d.running, func(node string) bool {
		return s.Hosts[node].LocalAPIServer
	})
	d.now.Newest = max(d.newestOffered(), skew.NewestKnown)
	d.plan = &Plan{
		Workers: in.Workers, MaxUnavailable: in.MaxUnavailable,
		Hops: []Hop{}, Components: []Component{}, Findings: slices.Clone(s.Unseen),
	}
	if in.Strategy != Rolling {
		d.plan.Strategy = in.Strategy
	}
	if in.Strategy == Replace {
		d.plan.Surge = in.atOnce()
	}
	if s.Method != Kubeadm {
		d.plan.Method = s.Method
	}
	d.plan.Findings = append(d.plan.Findings, s.Snapshot.Unread...)
	if len(d.now.APIServers) > 0 {
		d.plan.From = actsAs(slices.MinFunc(d.now.APIServers, func(a, b skew.Instance) int { return actsAs(a).Compare(actsAs(b)) }))
	}
	return d
}

// newestOffered is the newest minor of which some host could install a release.
func (d *decision) newestOffered() int {
	newest := 0
	for _, h := range d.Hosts {
		for minor, offers := range h.Offers {
			if len(offers.Packages) > 0 {
				newest = max(newest, minor)
			}
		}
	}
	return newest
}

// hostsSeen lists the nodes whose machines were looked at, sorted.
func (d *decision) hostsSeen() []string {
	var names []string
	for _, n := range d.Snapshot.Nodes {
		if h, looked := d.Hosts[n.Name]; looked && h.Problem == "" {
			names = append(names, n.Name)
		}
	}
	return names
}

// resolveGoal finds the patch of a goal that names none: the newest release that every
// host which was looked at could install.
func (d *decision) resolveGoal() skew.Version {
	goal := d.intent.Version
	if goal.Patch != skew.Unknown {
		return goal
	}
	return d.resolve(goal, d.hostsSeen())
}

// resolve finds the newest patch of a minor that all of the nodes could install; the
// version as it is if they have none in common.
func (d *decision) resolve(v skew.Version, nodes []string) skew.Version {
	var common []skew.Version
	for n, node := range nodes {
		h := d.Hosts[node]
		patches := releases(d.by, &h, v.Minor)
		if n == 0 {
			common = patches
			continue
		}
		common = slices.DeleteFunc(common, func(c skew.Version) bool {
			return !slices.ContainsFunc(patches, func(p skew.Version) bool { return p.Compare(c) == 0 })
		})
	}
	if len(common) == 0 {
		return v
	}
	newest := common[len(common)-1]
	return skew.Version{Minor: newest.Minor, Patch: newest.Patch, Suffix: stageOnly(newest)}
}

// stageOnly keeps of a suffix what is part of the release's name.
func stageOnly(v skew.Version) string {
	if v.Prerelease() {
		return v.Suffix
	}
	return ""
}

// resolveHops gives the hops their exact versions: a hop to a minor without a patch goes
// to the newest release that every host which moves in it could install.
func (d *decision) resolveHops(path skew.Path) {
	for i := range path.Hops {
		h := &path.Hops[i]
		if h.To.Patch != skew.Unknown {
			continue
		}
		var nodes []string
		for _, m := range h.Moves {
			if host, looked := d.Hosts[m.Node]; looked && host.Problem == "" {
				nodes = append(nodes, m.Node)
			}
		}
		slices.Sort(nodes)
		h.To = d.resolve(h.To, slices.Compact(nodes))
	}
}

func nodeObject(name string) cluster.Object { return cluster.Object{Kind: "Node", Name: name} }

// actsAs is the version of an instance, or the minor that it emulates.
func actsAs(i skew.Instance) skew.Version {
	if !i.Emulated.IsZero() {
		return skew.OfMinor(i.Emulated.Minor)
	}
	return i.Version
}
