// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/kubeadm"
	"refit.dev/refit/run"
)

// phase is how a step is called and drawn.
type phase struct{ Class, Name, Explanation string }

// phases are those that are known, in their order. A step that is not among
// them is drawn like the last and called by its own name.
var phases = [...]struct {
	step run.Step
	phase
}{
	{run.Step(kubeadm.StepRepository), fetching},
	{run.Step(kubeadm.StepLists), fetching},
	{run.Step(kubeadm.StepDownload), fetching},
	{run.Step(kubeadm.StepImages), fetching},
	{run.Step(kubeadm.StepKubeadm), installing},
	{run.Step(kubeadm.StepManifests), upgrading},
	{run.Step(kubeadm.StepUpgrade), upgrading},
	{run.StepCordon, phase{"cordon", "cordoning", "no new pods go there"}},
	{run.StepSurge, phase{"surge", "surging", "replacements of pods that can never be evicted start first"}},
	{run.StepDrain, phase{"drain", "draining", "pods leave, as fast as their budgets allow"}},
	{run.StepRetreat, phase{"retreat", "retreating", "its drain stood still: it waits for another turn"}},
	{run.StepCommand, phase{"work", "working", "the command runs"}},
	{run.StepReboot, phase{"work", "rebooting", "the reboot is asked for"}},
	{run.Step(kubeadm.StepKubelet), installing},
	{run.Step(kubeadm.StepRestart), phase{"ready", "restarting", "the kubelet is started again"}},
	{run.StepReady, phase{"ready", "readying", "the machine comes back"}},
	{run.StepVerify, phase{"verify", "verifying", "what the machine really runs is looked at"}},
	{run.Step(kubeadm.StepHolds), tidying},
	{run.Step(kubeadm.StepClean), tidying},
	{run.StepUncordon, phase{"uncordon", "uncordoning", "pods may go there again"}},
	{run.StepRecover, phase{"recover", "recovering", "evicted workloads get back to strength"}},
	{run.StepSoak, phase{"soak", "soaking", "its slot is kept for a while, to see that all is well"}},
	{run.StepCreate, phase{"fetch", "making", "a new machine is made in its place"}},
	{run.StepJoin, phase{"install", "joining", "the new machine becomes a node, and is Ready"}},
	{run.StepDepart, phase{"uncordon", "leaving", "its Node is deleted"}},
	{run.StepDispose, phase{"work", "removing", "its machine is removed"}},
	{run.StepBeforeNode, phase{"other", "hook before", "the operator's own command runs"}},
	{run.StepAfterNode, phase{"other", "hook after", "the operator's own command runs"}},
	{"", phase{"other", "", ""}},
}

// Several steps of an upgrade are one phase.
var (
	fetching   = phase{"fetch", "fetching", "packages and images are brought to the machine"}
	installing = phase{"install", "installing", "packages are installed"}
	upgrading  = phase{"work", "kubeadm", "it upgrades what runs from it: on a control plane its components, one by one"}
	tidying    = phase{"cordon", "tidying", "packages are held again, copies removed"}
)

func phaseOf(step run.Step) phase {
	for _, p := range &phases {
		if p.step == step {
			return p.phase
		}
	}
	last := phases[len(phases)-1].phase
	last.Name = string(step)
	return last
}

// group is a part of the chart of the nodes.
type group struct {
	Title string // empty if there is but one
	Open  bool
	Rows  []row
}

// row is a node in the chart.
type row struct {
	Name, Standing, Class, Took string
	Label                       string // the bar, in words
	Bars                        []bar
	Plans                       []planBar
	Phases                      []phaseRow
	Details                     []fact
	Waits                       []string
}

// bar is a phase in the chart; the numbers are percentages.
type bar struct{ Class, X, W, Title string }

// planBar is what was planned for the node.
type planBar struct{ X, W, Drained, Title string }

type phaseRow struct{ Name, From, Took, Note string }

// groups are the rows of the chart, and the legend of the phases in it.
func (r *Run) groups(s scale) ([]group, []phase) {
	var (
		out    []group
		legend []phase
		used   = map[run.Step]bool{}
	)
	for i, n := range r.nodes {
		if i%mostRows == 0 {
			g := group{Open: i == 0}
			if len(r.nodes) > mostRows {
				g.Title = fmt.Sprintf("Nodes %d to %d", i+1, min(i+mostRows, len(r.nodes)))
			}
			out = append(out, g)
		}
		g := &out[len(out)-1]
		g.Rows = append(g.Rows, r.row(n, s))
		for _, segment := range n.segments {
			used[segment.step] = true
		}
	}
	for _, p := range &phases {
		if used[p.step] && !slices.Contains(legend, p.phase) {
			legend = append(legend, p.phase)
		}
	}
	return out, legend
}

func (r *Run) row(n *node, s scale) row {
	out := row{Name: n.name, Took: "-"}
	out.Standing, out.Class = r.standing(n)
	if len(n.segments) > 0 {
		out.Took = duration(n.took(r.timeline))
	}
	words := []string{out.Standing}
	for _, segment := range n.segments {
		p, took := phaseOf(segment.step), segment.to.Sub(segment.from)
		x := s.percent(s.place(segment.from))
		w := max(0, s.percent(s.place(segment.to))-x) // the clock may have been set back
		b := bar{Class: p.Class, X: number(x), W: number(w), Title: p.Name + " " + duration(took)}
		note := ""
		switch {
		case segment.failed:
			note, b.Class = "failed", b.Class+" failed"
		case segment.open && r.status.Phase == run.PhaseRunning:
			note = "under way"
		case segment.open:
			note = "not ended"
		}
		if note != "" {
			b.Title += ", " + note
		}
		out.Bars = append(out.Bars, b)
		out.Phases = append(out.Phases, phaseRow{p.Name, r.since(segment.from), duration(took), note})
		words = append(words, fmt.Sprintf("%s from %s for %s", p.Name, r.since(segment.from), duration(took)))
	}
	for _, p := range n.planned {
		title := "from " + clock(p.Start)
		if p.Drained > 0 {
			title += ", empty at " + clock(p.Drained)
		}
		title += ", done at " + clock(p.End)
		if p.Start < s.length {
			x := s.percent(p.Start)
			bar := planBar{X: number(x), W: number(s.percent(p.End) - x), Title: "planned " + title}
			if p.Drained > 0 && p.Drained < s.length {
				bar.Drained = number(s.percent(p.Drained))
			}
			out.Plans = append(out.Plans, bar)
		}
		words = append(words, "planned "+title)
		out.Details = append(out.Details, fact{"Planned", title})
	}
	out.Label = strings.Join(words, ", ")
	r.details(n, &out)
	return out
}

// details are what stands below the bar once the row is opened.
func (r *Run) details(n *node, out *row) {
	if n.status.Evicted > 0 {
		out.Details = append(out.Details, fact{"Pods evicted", fmt.Sprint(n.status.Evicted)})
	}
	if n.status.Reason != "" {
		out.Details = append(out.Details, fact{"Reason", n.status.Reason})
	}
	if n.status.Hint != "" {
		out.Details = append(out.Details, fact{"What to do", n.status.Hint})
	}
	list := sorted(r.waits.node[n.name])
	for i, w := range list {
		if i == mostNodeWaits {
			out.Waits = append(out.Waits, fmt.Sprintf("and %d other things", len(list)-i))
			break
		}
		out.Waits = append(out.Waits, fmt.Sprintf("%s waited for %s, %s",
			phrase.Count(len(w.pods), "pod"), w.key.wording(), longest(w)))
	}
}

func longest(w *wait) string {
	if len(w.pods) == 1 {
		return duration(w.total)
	}
	return "up to " + duration(w.longest)
}

// since is a time counted from the begin of the run.
func (r *Run) since(at time.Time) string { return clock(at.Sub(r.timeline.begin())) }

// standing is where a node stands, in words, and how that looks.
func (r *Run) standing(n *node) (word, class string) {
	switch n.status.Standing {
	case run.Maintained:
		return "done", "good"
	case run.Failed:
		if n.status.Timeout {
			return "timed out", "bad"
		}
		return "failed", "bad"
	case run.Skipped:
		return "skipped", "warn"
	case run.Waiting:
		return "not begun", "idle"
	case run.Begun:
		if r.status.Phase == run.PhaseRunning {
			return "at work", "busy"
		}
		return "not finished", "warn"
	}
	return string(n.status.Standing), "warn"
}
