// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
)

// Ground is what a Plan stands on: the parts of a cluster whose change makes it another
// plan. Pods come and go, and are not among them.
type Ground struct {
	// Config is the version in kubeadm's record.
	Config string `json:"kubeadmConfig,omitempty"`
	// Server is what the API server of a managed control plane says.
	Server string       `json:"server,omitempty"`
	Nodes  []GroundNode `json:"nodes"`
}

// GroundNode is a node, with the versions of what moves on it.
type GroundNode struct {
	Name          string    `json:"name"`
	UID           types.UID `json:"uid"`
	Unschedulable bool      `json:"unschedulable,omitempty"`
	NotReady      bool      `json:"notReady,omitempty"`
	// Versions are by component.
	Versions map[string]string `json:"versions"`
	// Packages are the installed ones; empty if the machine was not looked at.
	Packages map[string]string `json:"packages,omitempty"`
}

// GroundOf returns what plans for a State stand on.
func GroundOf(s *State) Ground {
	g := Ground{Nodes: []GroundNode{}}
	if s.Config != nil {
		g.Config = s.Config.KubernetesVersion
	}
	if s.Method == Managed {
		g.Server = s.Snapshot.Server
	}
	versions := map[string]map[string]string{}
	for _, r := range s.running() {
		if r.Component == CoreDNS || r.Component == Runtime { // pods that move; not refit's
			continue
		}
		if versions[r.Node] == nil {
			versions[r.Node] = map[string]string{}
		}
		versions[r.Node][r.Component] = r.Version
	}
	for _, n := range s.Snapshot.Nodes {
		x := GroundNode{Name: n.Name, UID: n.UID, Unschedulable: n.Spec.Unschedulable, NotReady: !cluster.Ready(n.Node), Versions: versions[n.Name]}
		for _, p := range s.Hosts[n.Name].Packages {
			if x.Packages == nil {
				x.Packages = map[string]string{}
			}
			x.Packages[p.Name] = p.Version
		}
		g.Nodes = append(g.Nodes, x)
	}
	return g
}

// Changes says, line by line, what has changed from g, the ground of a plan, to now;
// nothing if nothing has that matters. A node that is Ready again does not matter.
func (g Ground) Changes(now Ground) []string {
	var changes []string
	say := func(format string, args ...any) { changes = append(changes, fmt.Sprintf(format, args...)) }
	if g.Config != now.Config {
		say("kubeadm's record of the cluster says %s now, not %s", orNothing(now.Config), orNothing(g.Config))
	}
	if g.Server != now.Server {
		say("the API server says %s now, not %s", orNothing(now.Server), orNothing(g.Server))
	}
	before := map[string]GroundNode{}
	for _, n := range g.Nodes {
		before[n.Name] = n
	}
	for _, n := range now.Nodes {
		old, known := before[n.Name]
		delete(before, n.Name)
		switch {
		case !known:
			say("node %s is new", n.Name)
			continue
		case old.UID != n.UID:
			say("node %s was replaced by another one of that name", n.Name)
			continue
		case old.Unschedulable && !n.Unschedulable:
			say("node %s was uncordoned: it would have stayed cordoned", n.Name)
		case n.Unschedulable && !old.Unschedulable:
			say("node %s was cordoned", n.Name)
		}
		if n.NotReady && !old.NotReady {
			say("node %s is not Ready any more", n.Name)
		}
		compare(old.Versions, n.Versions, func(component, was, is string) {
			say("%s on %s is %s now, not %s", component, n.Name, orNothing(is), orNothing(was))
		})
		if len(old.Packages) > 0 && len(n.Packages) > 0 { // else it was or is not looked at
			compare(old.Packages, n.Packages, func(name, was, is string) {
				say("package %s on %s is %s now, not %s", name, n.Name, orNothing(is), orNothing(was))
			})
		}
	}
	for _, n := range g.Nodes {
		if _, gone := before[n.Name]; gone {
			say("node %s is gone", n.Name)
		}
	}
	return changes
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

// compare tells of every key whose value differs, in order.
func compare(old, now map[string]string, differs func(key, old, now string)) {
	keys := slices.Concat(slices.Collect(maps.Keys(old)), slices.Collect(maps.Keys(now)))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if old[key] != now[key] {
			differs(key, old[key], now[key])
		}
	}
}

// Stale says what keeps a saved plan from being applied to what a State says: what has
// changed since, and blockers that were not there. The plan is decided anew for that.
func (p *SavedPlan) Stale(s *State) []string {
	if p.Cluster != s.Cluster {
		return []string{"it is another cluster"}
	}
	changes := p.Ground.Changes(GroundOf(s))
	intent := p.Spec
	intent.Version = p.To
	now := Decide(s, intent)
	for _, f := range now.Blockers() {
		changes = append(changes, f.Object.String()+": "+f.Message)
	}
	if p.Method != now.Method {
		changes = append(changes, fmt.Sprintf("the plan is for --method %s, and this cluster is one for %s", cmp.Or(p.Method, Kubeadm), cmp.Or(now.Method, Kubeadm)))
	}
	changes = append(changes, p.binaryChanges(now)...)
	if len(changes) > 0 { // another plan is no wonder
		return changes
	}
	return p.differs(now)
}

// Unreached says which machines that the plan works on could not be looked at for a State, and why. Stale has them, too,
// among what has changed: whether these have is not known.
func (p *SavedPlan) Unreached(s *State) (why []string) {
	intent := p.Spec
	intent.Version = p.To
	now := Decide(s, intent)
	for _, f := range now.Blockers() {
		if f.Code == HostFailed {
			why = append(why, "node "+f.Object.Name+": "+s.Hosts[f.Object.Name].Problem)
		}
	}
	return why
}

// Looked tells whether the plan was made with a look at machines.
func (g Ground) Looked() bool {
	return slices.ContainsFunc(g.Nodes, func(n GroundNode) bool { return len(n.Packages) > 0 })
}

// differs says where what a plan does first is not what the plan now does: somebody has
// changed the file, or another refit wrote it.
func (p *Plan) differs(now *Plan) []string {
	old, fresh := p.moves(), now.moves()
	for i := range max(len(old), len(fresh)) {
		switch {
		case i >= len(fresh):
			return []string{"it is not the plan that refit makes for this cluster now: that has no " + old[i]}
		case i >= len(old):
			return []string{"it is not the plan that refit makes for this cluster now: that has " + fresh[i]}
		case old[i] != fresh[i]:
			return []string{fmt.Sprintf("it is not the plan that refit makes for this cluster now: that has %s, and not %s", fresh[i], old[i])}
		}
	}
	return nil
}

// moves is what a plan does, in words that are equal if that is. Workers of a hop are in
// the order of their names: their turn depends on pods, which come and go.
func (p *Plan) moves() []string {
	var list []string
	for _, h := range p.Hops {
		workers := slices.SortedFunc(slices.Values(h.Workers), func(a, b NodeSteps) int { return strings.Compare(a.Node, b.Node) })
		for _, v := range slices.Concat(h.ControlPlane, workers) {
			steps := make([]string, len(v.Steps))
			for i, s := range v.Steps {
				steps[i] = string(s.Name)
			}
			list = append(list, fmt.Sprintf("node %s to %s as %s (%s)", v.Node, h.To, v.Role, strings.Join(steps, ", ")))
		}
		if h.KubeProxy {
			list = append(list, "kube-proxy to "+h.To.String())
		}
		list = append(list, "the end of the hop to "+h.To.String())
	}
	return list
}
