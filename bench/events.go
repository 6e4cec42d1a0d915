// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
	maintain "refit.dev/refit/run"
)

// eventsEach is how many events of each kind there are.
const eventsEach = 20

// happening is a kind of event: it makes the nth one of a cluster. deleted: the
// object is gone, otherwise it is new or changed.
type happening struct {
	name string
	make func(s *cluster.Snapshot, n int) (obj k8sruntime.Object, deleted bool)
}

func happenings() []happening {
	nth := func(s *cluster.Snapshot, n, shift int) *corev1.Pod {
		return s.Pods[(n*len(s.Pods)/eventsEach+shift)%len(s.Pods)].DeepCopy()
	}
	return []happening{
		{"a pod is not Ready any more", func(s *cluster.Snapshot, n int) (k8sruntime.Object, bool) {
			p := nth(s, n, 0)
			for i := range p.Status.Conditions {
				if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
					c.Status = corev1.ConditionFalse
				}
			}
			p.ResourceVersion += "1"
			return p, false
		}},
		{"a pod is gone", func(s *cluster.Snapshot, n int) (k8sruntime.Object, bool) { return nth(s, n, 1), true }},
		{"a pod is created and bound", func(s *cluster.Snapshot, n int) (k8sruntime.Object, bool) {
			p := nth(s, n, 2)
			p.Name, p.UID = p.Name+"-again", types.UID("again-"+strconv.Itoa(n))
			p.Spec.NodeName = s.Nodes[(n*len(s.Nodes)/eventsEach+7)%len(s.Nodes)].Name
			return p, false
		}},
		{"the status of a budget changes", func(s *cluster.Snapshot, n int) (k8sruntime.Object, bool) {
			b := s.Budgets[n*len(s.Budgets)/eventsEach].DeepCopy()
			b.Status.CurrentHealthy--
			b.Status.DisruptionsAllowed = max(0, b.Status.DisruptionsAllowed-1)
			b.ResourceVersion += "1"
			return b, false
		}},
		{"a node is cordoned, or uncordoned", func(s *cluster.Snapshot, n int) (k8sruntime.Object, bool) {
			node := s.Nodes[n/2*2*len(s.Nodes)/eventsEach+3].DeepCopy()
			node.Spec.Unschedulable = n%2 == 0
			node.ResourceVersion += strconv.Itoa(n + 1)
			return node, false
		}},
	}
}

// follow follows the cluster as a run does that begins with the plan: what happens
// goes into the watch's caches and through a subscription; measured is how long it
// takes from then until it is known which nodes may be started. By then the run is
// in its middle, with as many nodes at work as may be: for all of their pods the
// decision has to find places.
func (p *planned) follow(h *cluster.Held, drain plan.Drain, in *plan.Intent, made *plan.Plan) error {
	news := h.Subscribe()
	defer news.Close()
	step := stopwatch()
	k := plan.Keep(h, drain)
	p.Keep = step()

	limit, err := maintain.ParseShare(strconv.Itoa(in.MaxUnavailable))
	if err != nil {
		return err
	}
	spec := &maintain.Spec{MaxUnavailable: limit, MaxMoves: in.MaxMoves, Eager: made.Eager, Pods: made.Pods}
	progress := maintain.Progress{Nodes: map[string]*maintain.NodeStatus{}, Active: map[string]bool{}}
	for i, name := range in.Nodes {
		spec.Nodes = append(spec.Nodes, maintain.Target{Name: name, UID: k.Nodes()[i].UID})
		progress.Nodes[name] = &maintain.NodeStatus{Standing: maintain.Waiting}
	}
	for i := range made.Nodes {
		spec.Order = append(spec.Order, made.Nodes[i].Name)
	}
	decide := func() maintain.Decision {
		return maintain.Next(maintain.View{Nodes: k.Nodes(), World: k.World()}, spec, progress)
	}
	p.AtWork = begin(decide, progress)
	if p.AtWork == 0 {
		return fmt.Errorf("nothing can be started: %+v", decide().Waits)
	}
	s := h.Snapshot()
	p.Redecide = map[string][]time.Duration{}
	for _, x := range happenings() {
		for n := range eventsEach {
			obj, deleted := x.make(s, n)
			change := h.Put
			if deleted {
				change = h.Remove
			}
			step() // what was done to prepare the event is no part of it
			if err := change(obj); err != nil {
				return err
			}
			k.Renew(news.Take())
			decide()
			p.Redecide[x.name] = append(p.Redecide[x.name], step())
			if why := k.Outdated(); why != "" {
				return fmt.Errorf("after an event (%s) the cluster has to be read again: %s", x.name, why)
			}
		}
	}
	return nil
}

// begin takes a run to its middle, and returns how many nodes are at work: of those
// that may be started a quarter is done at once, and the others stay at work, until
// no more may be started, or a few rounds are over.
func begin(decide func() maintain.Decision, progress maintain.Progress) int {
	const rounds = 6
	for range rounds {
		start := decide().Start
		for i, name := range start {
			if len(start) == 1 || i < len(start)/4 {
				progress.Nodes[name].Standing = maintain.Maintained
				continue
			}
			progress.Nodes[name].Standing = maintain.Begun
			progress.Active[name] = true
		}
	}
	return len(progress.Active)
}
