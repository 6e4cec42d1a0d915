// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/plan"
	"refit.dev/refit/report"
	"refit.dev/refit/upgrade"
)

// upgradeView shows the plan of an upgrade to a person.
type upgradeView struct {
	report.Canvas
	// wide has a line for every component on every node, every visit and every move.
	wide bool
}

// mostVisits is how many workers of a hop are listed, mostNodes how many nodes of a row,
// unless everything is wanted.
const (
	mostVisits = 20
	mostNodes  = 3
)

// text draws a plan: what is in the way first, as in all plans.
func (v upgradeView) text(p *upgrade.Plan) string {
	var b strings.Builder
	if len(p.Findings) > 0 {
		list := findings{all: p.Findings}
		for line := range strings.Lines(strings.TrimSuffix(list.text(v.Color), list.summary())) {
			b.WriteString(v.fold(line))
		}
	}
	b.WriteString(v.Fold(headOf(p), "  "))
	v.components(&b, p)
	if p.Backup {
		b.WriteString("\n" + v.Fold("first of all: etcd is saved, and it is proven that the snapshot can be restored", "  "))
	}
	for i := range p.Hops {
		v.hop(&b, p, i)
	}
	return b.String()
}

// fold breaks a line that is indented already, and keeps its colours.
func (v upgradeView) fold(line string) string {
	line = strings.TrimRight(line, "\n")
	if line == "" || strings.HasPrefix(line, "\x1b") || !strings.HasPrefix(line, " ") {
		return line + "\n"
	}
	return v.Fold(line, "    ")
}

func headOf(p *upgrade.Plan) string {
	from := "what it runs"
	if !p.From.IsZero() {
		from = p.From.String()
	}
	switch {
	case len(p.Hops) == 0 && len(p.Blockers()) > 0 && p.From == p.To:
		return fmt.Sprintf("the API server is at %s already; what else is left cannot be told, or not be done", p.To)
	case len(p.Hops) == 0 && len(p.Blockers()) > 0:
		return fmt.Sprintf("no way from %s to %s", from, p.To)
	case len(p.Hops) == 0:
		return fmt.Sprintf("everything is at %s", p.To)
	case p.From == p.To:
		from = "the rest"
	}
	control, workers, managed := map[string]bool{}, map[string]bool{}, false
	for _, h := range p.Hops {
		for _, x := range h.ControlPlane {
			control[x.Node] = true
			managed = managed || x.Role == upgrade.ManagedControlPlane
		}
		for _, x := range h.Workers {
			workers[x.Node] = true
		}
	}
	how := fmt.Sprintf("at most %d out at once", p.MaxUnavailable)
	switch p.Strategy {
	case upgrade.AllAtOnce:
		how = "workers all at once, without drains"
	case upgrade.Replace:
		how = "workers replaced, with " + phrase.Count(p.Surge, "machine") + " more meanwhile"
	case upgrade.Rolling:
	}
	plane := phrase.Count(len(control), "control-plane node")
	if managed {
		plane = "a managed control plane"
	}
	return fmt.Sprintf("upgrade %s to %s in %s: %s, %s, %s; about %s", from, p.To, phrase.Count(len(p.Hops), "hop"),
		plane, phrase.Count(len(workers), "worker"), how, rounded(p.Seconds))
}

// components is the table of what runs, and what it will be.
func (v upgradeView) components(b *strings.Builder, p *upgrade.Plan) {
	if len(p.Components) == 0 {
		return
	}
	b.WriteString("\n")
	_ = writeTable(b, func(row func(cells ...any)) { // a Builder never fails
		head := []any{"COMPONENT", "NODE", "CURRENT"}
		for i, h := range p.Hops {
			name := h.To.String()
			if i == len(p.Hops)-1 {
				name = "TARGET"
			}
			head = append(head, name)
		}
		row(head...)
		rows := p.Components
		if !v.wide {
			rows = oneRowEach(rows)
		}
		for _, c := range rows {
			cells := []any{c.Name, oneLine(dash(c.Node)), oneLine(c.Current)}
			last := c.Current
			for _, after := range c.After {
				text := oneLine(cmp.Or(after, "?"))
				if after == last {
					text = "-"
				}
				last = after
				cells = append(cells, text)
			}
			row(cells...)
		}
	})
}

// oneRowEach puts all nodes on which a component is and will be the same on one line.
func oneRowEach(all []upgrade.Component) []upgrade.Component {
	var rows []upgrade.Component
	nodes := [][]string{}
	for _, c := range all {
		i := slices.IndexFunc(rows, func(r upgrade.Component) bool {
			return r.Name == c.Name && r.Current == c.Current && slices.Equal(r.After, c.After)
		})
		if i < 0 {
			rows, nodes, i = append(rows, c), append(nodes, nil), len(rows)
		}
		if !slices.Contains(nodes[i], c.Node) {
			nodes[i] = append(nodes[i], c.Node)
		}
	}
	for i := range rows {
		rows[i].Node = phrase.Few(nodes[i], mostNodes)
	}
	return rows
}

// hop lists the visits of a hop.
func (v upgradeView) hop(b *strings.Builder, p *upgrade.Plan, i int) {
	h := &p.Hops[i]
	fmt.Fprintf(b, "\nhop %d of %d: to %s, about %s\n", i+1, len(p.Hops), h.To, rounded(h.Seconds))
	visits := slices.Concat(h.ControlPlane, h.Workers)
	hidden := 0
	if most := len(h.ControlPlane) + mostVisits; !v.wide && len(visits) > most {
		hidden = len(visits) - most
		visits = visits[:most]
	}
	name, start := len("NODE"), len("START")
	for i := range visits {
		name, start = max(name, min(len(visits[i].Node), v.Columns/3)), max(start, len(rounded(visits[i].Start)))
	}
	fmt.Fprintf(b, "%*s  %-*s  %s\n", start, "START", name, "NODE", "WHAT IS DONE")
	for i := range visits {
		x := &visits[i]
		text := fmt.Sprintf("%*s  %-*s  %s", start, rounded(x.Start), name, v.CutMiddle(cmp.Or(x.Node, "-"), name), does(h, x))
		b.WriteString(v.Fold(text, strings.Repeat(" ", start+name+4)))
		for _, m := range x.Moves {
			if v.wide {
				b.WriteString(v.Fold(fmt.Sprintf("%*s  %s %s", start+name+6, "", m.Pod, goesTo(m)), strings.Repeat(" ", start+name+8)))
			}
		}
	}
	if hidden > 0 {
		fmt.Fprintf(b, "and %s: -o wide lists them all\n", phrase.Count(hidden, "more worker"))
	}
	if h.KubeProxy {
		b.WriteString("kube-proxy moves with the last API server, on all nodes\n")
	}
}

// goesTo says where a pod is expected.
func goesTo(m plan.Move) string {
	switch {
	case m.To == "":
		return m.Note
	case m.Note == "":
		return "to " + m.To
	}
	return fmt.Sprintf("to %s (%s)", m.To, m.Note)
}

// does says what is done in a visit of a hop.
func does(h *upgrade.Hop, x *upgrade.NodeSteps) string {
	var parts []string
	for _, s := range x.Steps {
		switch s.Name {
		case upgrade.StepPackages:
			parts = append(parts, packagesOf(x, "kubeadm"))
		case upgrade.StepApply:
			parts = append(parts, "kubeadm upgrade apply")
		case upgrade.StepNode:
			parts = append(parts, "kubeadm upgrade node")
		case upgrade.StepDrain:
			drain := "drain"
			if x.Pods > 0 {
				drain += " (" + phrase.Count(x.Pods, "pod") + ")"
			}
			parts = append(parts, drain)
		case upgrade.StepKubelet:
			if x.Components != nil { // each is restarted
				parts = append(parts, packagesOf(x, "kubelet"))
				continue
			}
			parts = append(parts, packagesOf(x, "kubelet", "kubectl"), "restart")
		case upgrade.StepEtcd, upgrade.StepAPIServer, upgrade.StepControllerManager, upgrade.StepScheduler, upgrade.StepKubeProxy:
			parts = append(parts, packagesOf(x, string(s.Name)))
		case upgrade.StepReady:
			parts = append(parts, "wait until it is Ready")
		case upgrade.StepUncordon:
			parts = append(parts, "uncordon")
		case upgrade.StepRaise:
			parts = append(parts, "the provider is asked to raise its control plane, until the API server says "+h.To.String())
		case upgrade.StepCreate:
			parts = append(parts, "make a new machine")
		case upgrade.StepJoin:
			parts = append(parts, "wait until it has joined and is Ready")
		case upgrade.StepRemove:
			parts = append(parts, "delete the node and its machine")
		}
	}
	text := strings.Join(parts, ", ")
	if x.StaysCordoned {
		text += "; it stays cordoned"
	}
	return text
}

// packagesOf names packages and, if it is known, their version.
func packagesOf(x *upgrade.NodeSteps, names ...string) string {
	var there []string
	version := ""
	for _, p := range x.Packages {
		if slices.Contains(names, p.Name) {
			there, version = append(there, p.Name), p.To
		}
	}
	return strings.TrimRight(strings.Join(there, " and ")+" "+version, " ")
}

// writeUpgradeStatus writes what every node runs.
func writeUpgradeStatus(w io.Writer, p *upgrade.Progress, wide bool) error {
	err := writeTable(w, func(row func(cells ...any)) {
		columns := []string{"kube-apiserver", upgrade.Etcd, "kubelet", "kube-proxy"}
		head := []any{"NODE", "ROLE", "STATUS", "APISERVER", "ETCD", "KUBELET", "KUBE-PROXY"}
		if wide {
			columns = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", upgrade.Etcd, "kubelet", "kube-proxy", upgrade.Runtime}
			head = []any{"NODE", "ROLE", "STATUS", "APISERVER", "CONTROLLER-MANAGER", "SCHEDULER", "ETCD", "KUBELET", "KUBE-PROXY", "RUNTIME", "OS", "KERNEL"}
		}
		row(head...)
		for i := range p.Nodes {
			n := &p.Nodes[i]
			cells := []any{oneLine(n.Name), roleOf(n), statusOf(n)}
			for _, c := range columns {
				cells = append(cells, oneLine(dash(n.Versions[c])))
			}
			if wide {
				cells = append(cells, oneLine(dash(n.OS)), oneLine(dash(n.Kernel)))
			}
			row(cells...)
		}
	})
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\n")
	if p.Hosted != "" {
		fmt.Fprintf(&b, "The API server is %s. It is not to be seen as a pod of this cluster, so refit cannot upgrade it.\n", oneLine(p.Hosted))
	}
	if len(p.CoreDNS) > 0 {
		fmt.Fprintf(&b, "CoreDNS is %s.\n", oneLine(strings.Join(p.CoreDNS, ", ")))
	}
	switch {
	case p.Version.IsZero():
		b.WriteString("Nothing is known of the API servers, so it cannot be told what is left.\n")
	case len(p.Left) == 0:
		fmt.Fprintf(&b, "Everything is at %s.\n", p.Version)
	default:
		fmt.Fprintf(&b, "Left until everything is at %s:\n", p.Version)
		for _, l := range oneLineEach(p.Left) {
			fmt.Fprintf(&b, "  %s\n", oneLine(l))
		}
	}
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "Note: %s.\n", oneLine(problem))
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// oneLineEach puts what is of one version on one line.
func oneLineEach(left []upgrade.Left) []string {
	var lines []string
	for i := 0; i < len(left); {
		var nodes []string
		j := i
		for ; j < len(left) && left[j].Component == left[i].Component && left[j].Version == left[i].Version; j++ {
			nodes = append(nodes, left[j].Node)
		}
		lines = append(lines, fmt.Sprintf("%s %s on %s", left[i].Component, left[i].Version, phrase.Few(nodes, 2*mostNodes)))
		i = j
	}
	return lines
}

func roleOf(n *upgrade.NodeVersions) string {
	if n.ControlPlane {
		return "control-plane"
	}
	return "worker"
}

// statusOf is what kubectl get nodes calls it.
func statusOf(n *upgrade.NodeVersions) string {
	status := "Ready"
	if !n.Ready {
		status = "NotReady"
	}
	if n.Cordoned {
		status += ",SchedulingDisabled"
	}
	return status
}
