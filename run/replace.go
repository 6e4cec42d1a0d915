// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"slices"

	"refit.dev/refit/cluster"
	"refit.dev/refit/provider"
)

// Replace says how the workers of an upgrade give way to new machines.
type Replace struct {
	// Surge is how many machines more there may be than at the beginning, 1 or more.
	Surge int `json:"surge"`
	// Provider makes and removes the machines.
	Provider provider.Config `json:"provider"`
	// Machines are those of the workers when the run was planned, by node: these are removed,
	// and no others.
	Machines map[string]provider.Machine `json:"machines"`
	// Nodes are the names of all nodes that there were then, sorted: no new machine is one of them.
	Nodes []string `json:"nodes"`
}

// Made is a machine that a run has asked for.
type Made struct {
	provider.Machine
	// UID is that of its Node, once it is in service.
	UID string `json:"uid,omitempty"`
}

// replaces tells whether a node of a run gives way to a new machine in that stage.
func (s *Spec) replaces(stage *Stage) bool {
	return s.Upgrade != nil && s.Upgrade.Replace != nil && stage != nil && stage.Role == Workers
}

// replaced tells whether the node of that name gives way to a new machine.
func (s *Spec) replaced(node string) bool {
	if s.Upgrade == nil || s.Upgrade.Replace == nil {
		return false
	}
	_, found := s.Upgrade.Replace.Machines[node]
	return found
}

// keyOf is what the machine in the place of a node is asked for under. It has the form of a
// name of a Node, so that a provider may name the machine by it.
func (s *Spec) keyOf(node string) string {
	i := slices.IndexFunc(s.Nodes, func(t Target) bool { return t.Name == node })
	return fmt.Sprintf("refit-%s-%d", s.Run, i+1)
}

// providing tells whether the next that is done about a node is to provide a new machine for it:
// until then it serves as ever.
func (s *Spec) providing(node string, n *NodeStatus) bool {
	return s.replaced(node) && n != nil && n.Steps[StepJoin] != Done && s.replaces(s.stageOf(node, n))
}

// provided are those nodes for which a new machine may be made, or waited for, now, in the order of
// the run: there are never more machines than the surge that are not paid for by an old one gone.
func (s *Spec) provided(nodes []string, p Progress) (start []string) {
	extra := 0
	has := func(name string) bool { return p.Active[name] || p.Nodes[name].Machine != nil }
	for _, t := range s.Nodes {
		// What was made for a node that went by itself is counted on in its place.
		if n := p.Nodes[t.Name]; s.replaced(t.Name) && has(t.Name) && n.Steps[StepDispose] != Done && n.Standing != Skipped {
			extra++
		}
	}
	if len(s.Order) > 0 {
		slices.SortStableFunc(nodes, func(a, b string) int { return slices.Index(s.Order, a) - slices.Index(s.Order, b) })
	}
	for _, name := range nodes {
		if !has(name) {
			if extra >= s.Upgrade.Replace.Surge {
				continue
			}
			extra++
		}
		start = append(start, name)
	}
	return start
}

// coming are the nodes of new machines that are not in service yet: they are not out, because
// nobody has counted on them.
func (p Progress) coming() map[string]bool {
	names := map[string]bool{}
	for _, n := range p.Nodes {
		if n.Machine != nil && n.Machine.Node != "" && n.Steps[StepJoin] != Done {
			names[n.Machine.Node] = true
		}
	}
	return names
}

// withSurge is a cluster as it will be when the first new machines are in service: with copies
// of the nodes that they come for.
func (s *Spec) withSurge(c *cluster.Snapshot) *cluster.Snapshot {
	if s.Upgrade == nil || s.Upgrade.Replace == nil {
		return c
	}
	var extra []string
	for _, t := range s.Nodes {
		if s.replaced(t.Name) && len(extra) < s.Upgrade.Replace.Surge {
			extra = append(extra, t.Name)
		}
	}
	return c.WithNew(extra)
}

func (s *Spec) validateReplace() error {
	if s.Upgrade == nil || s.Upgrade.Replace == nil {
		return nil
	}
	r := s.Upgrade.Replace
	switch {
	case r.Surge < 1:
		return fmt.Errorf("a surge of %d machines: want 1 or more", r.Surge)
	case s.Upgrade.AllAtOnce:
		return errors.New("workers are either replaced or upgraded all at once")
	case !slices.IsSorted(r.Nodes):
		return errors.New("the names of the nodes are not sorted")
	}
	if err := r.Provider.Check(); err != nil {
		return fmt.Errorf("the provider: %w", err)
	}
	workers, ids := map[string]bool{}, map[string]string{}
	for _, stage := range s.Upgrade.Stages {
		if stage.Role != Workers {
			continue
		}
		for _, name := range stage.Nodes {
			m, found := r.Machines[name]
			switch {
			case workers[name]:
				return fmt.Errorf("node %s would be replaced more than once", name)
			case !found:
				return fmt.Errorf("node %s: its machine is not known", name)
			case ids[m.ID] != "":
				return fmt.Errorf("nodes %s and %s are on one machine, %s", ids[m.ID], name, m.ID)
			}
			if err := m.Check(); err != nil {
				return fmt.Errorf("node %s: %w", name, err)
			}
			workers[name], ids[m.ID] = true, name
		}
	}
	for name := range r.Machines {
		if !workers[name] {
			return fmt.Errorf("node %s is no worker of the upgrade", name)
		}
	}
	return nil
}
