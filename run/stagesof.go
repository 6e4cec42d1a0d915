// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"slices"

	"refit.dev/refit/upgrade"
)

// Gate is where an upgrade stops, to be resumed by whoever has looked.
type Gate string

const (
	// AfterControlPlane is when the control plane of a hop is done, AfterFirstWorker when
	// the first worker of the upgrade is.
	AfterControlPlane Gate = "control-plane"
	AfterFirstWorker  Gate = "first-worker"
)

// StagesOf turns a plan into the stages of a run, and tells which packages were held.
func StagesOf(p *upgrade.Plan, gate Gate) (stages []Stage, held map[string][]string) {
	held = map[string][]string{}
	firstWorker := gate == AfterFirstWorker
	begin := 0.0 // of the hop
	for number, hop := range p.Hops {
		version := hop.To.String()
		for i := range hop.ControlPlane {
			v := &hop.ControlPlane[i]
			noteHeld(held, v)
			if v.Role == upgrade.ManagedControlPlane {
				stages = append(stages, Stage{Role: ManagedControlPlane, Version: version})
				if gate == AfterControlPlane {
					stages[len(stages)-1].Pause = "after the control plane"
				}
				continue
			}
			stage := Stage{Role: roleOf(v.Role), Version: version, Nodes: []string{v.Node}, Components: v.Components, Expected: expected(begin, hop.ControlPlane[i:i+1])}
			if !slices.ContainsFunc(v.Steps, func(s upgrade.Step) bool { return s.Name == upgrade.StepKubelet }) {
				later := visited(hop.ControlPlane[i+1:], v.Node) ||
					slices.ContainsFunc(p.Hops[number+1:], func(h upgrade.Hop) bool { return visited(h.ControlPlane, v.Node) })
				stage.KubeletLater, stage.KubeletThere = later, !later
			}
			stages = append(stages, stage)
			if i == len(hop.ControlPlane)-1 && gate == AfterControlPlane {
				stages[len(stages)-1].Pause = "after the control plane"
			}
		}
		workers := hop.Workers
		for i := range workers {
			noteHeld(held, &workers[i])
		}
		if firstWorker && len(workers) > 0 {
			stages = append(stages, workersStage(version, begin, workers[:1]))
			stages[len(stages)-1].Pause = "after the first worker"
			workers, firstWorker = workers[1:], false
		}
		for _, alike := range byComponents(workers) {
			stages = append(stages, workersStage(version, begin, alike))
		}
		begin += hop.Seconds
	}
	return stages, held
}

// workersStage is the stage of workers that have the same components.
func workersStage(version string, begin float64, visits []upgrade.NodeSteps) Stage {
	stage := Stage{Role: Workers, Version: version, Components: visits[0].Components, Expected: expected(begin, visits)}
	for i := range visits {
		stage.Nodes = append(stage.Nodes, visits[i].Node)
	}
	slices.Sort(stage.Nodes)
	return stage
}

// byComponents puts visits together whose components are the same, in the order of the first of each.
func byComponents(visits []upgrade.NodeSteps) (groups [][]upgrade.NodeSteps) {
	for i := range visits {
		of := slices.IndexFunc(groups, func(g []upgrade.NodeSteps) bool { return slices.Equal(g[0].Components, visits[i].Components) })
		if of < 0 {
			groups, of = append(groups, nil), len(groups)
		}
		groups[of] = append(groups[of], visits[i])
	}
	return groups
}

// visited tells whether a node has one of the visits.
func visited(visits []upgrade.NodeSteps, node string) bool {
	return slices.ContainsFunc(visits, func(v upgrade.NodeSteps) bool { return v.Node == node })
}

// expected is what the plan says of when visits of a hop that begins then take place.
func expected(begin float64, visits []upgrade.NodeSteps) []Expected {
	var all []Expected
	for i := range visits {
		all = append(all, Expected{Node: visits[i].Node, Start: begin + visits[i].Start, Seconds: visits[i].Seconds})
	}
	return all
}

func roleOf(r upgrade.Role) Role {
	switch r {
	case upgrade.FirstControlPlane:
		return FirstControlPlane
	case upgrade.ControlPlaneKubelet:
		return ControlPlaneKubelet
	case upgrade.Worker:
		return Workers
	case upgrade.ControlPlane, upgrade.ManagedControlPlane: // the latter is of no node
	}
	return OtherControlPlane
}

// NoteHeld adds to what is held on nodes the packages that do not move themselves: while
// others are installed their holds are taken off, too.
func NoteHeld(held map[string][]string, hosts map[string]upgrade.Host) {
	for node := range held {
		for _, p := range hosts[node].Packages {
			if p.Held && !slices.Contains(held[node], p.Name) {
				held[node] = append(held[node], p.Name)
			}
		}
	}
}

func noteHeld(held map[string][]string, v *upgrade.NodeSteps) {
	for _, p := range v.Packages {
		if p.Held && !slices.Contains(held[v.Node], p.Name) {
			held[v.Node] = append(held[v.Node], p.Name)
		}
	}
}
