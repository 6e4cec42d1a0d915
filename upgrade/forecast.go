// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// Forecast is what an upgrade by one strategy is expected to take and to cost.
type Forecast struct {
	Strategy Strategy `json:"strategy"`
	// Seconds is how long all of it takes, WorkerSeconds the part in which workers move.
	Seconds       float64 `json:"seconds"`
	WorkerSeconds float64 `json:"workerSeconds"`
	// Evicted is how many pods are evicted from workers, and begin anew elsewhere. Exposed is how many
	// are on workers whose kubelets are worked on at the same time, under their pods.
	Evicted int `json:"evicted"`
	Exposed int `json:"exposed"`
	// Out is how many workers may be out at once, beyond what new machines make up for.
	Out int `json:"out"`
	// Machines is how many machines more there are at the most.
	Machines int `json:"machines"`
	// Blockers keep it from being done.
	Blockers []cluster.Finding `json:"blockers"`
	// Risks are what may go wrong that does not with the others.
	Risks []string `json:"risks"`
}

// Compare decides for each strategy what a plan from the same State would be, and sums it up. in's
// own strategy does not matter. The same input gives the same answer.
func Compare(s *State, in Intent) []Forecast {
	var all []Forecast
	for _, strategy := range []Strategy{Rolling, AllAtOnce, Replace} {
		in.Strategy = strategy
		all = append(all, forecast(s, in, Decide(s, in)))
	}
	return all
}

func forecast(s *State, in Intent, p *Plan) Forecast {
	f := Forecast{Strategy: in.Strategy, Seconds: p.Seconds, Blockers: p.Blockers()}
	if f.Blockers == nil {
		f.Blockers = []cluster.Finding{}
	}
	workers, visits := map[string]bool{}, 0
	for i := range p.Hops {
		h := &p.Hops[i]
		begin := h.Seconds
		for j := range h.Workers {
			v := &h.Workers[j]
			workers[v.Node] = true
			visits++
			f.Evicted += v.Pods
			begin = min(begin, v.Start)
		}
		if len(h.Workers) > 0 {
			f.WorkerSeconds += h.Seconds - begin
		}
	}
	surge := min(in.atOnce(), len(workers))
	switch in.Strategy {
	case AllAtOnce:
		f.Out = len(workers)
		for name := range workers {
			f.Exposed += resting(s, name)
		}
		f.Risks = []string{
			"no budget is asked: pods of one workload may be disturbed on all nodes at the same time",
			"all workers run the new version before anybody has seen one of them work with it",
		}
	case Replace:
		f.Machines = surge
		f.Risks = []string{
			"what is on the disks of the old machines is gone, local volumes too",
			"nodes have other names and addresses afterwards",
			fmt.Sprintf("it takes room for %s more, where the provider makes them", phrase.Count(surge, "machine")),
		}
		if visits > len(workers) {
			f.Risks = append(f.Risks, "workers would be replaced more than once, which refit does not do: go there in two upgrades")
		}
	case Rolling:
		f.Out = surge
		f.Risks = []string{
			fmt.Sprintf("the others have to make do without %s meanwhile", phrase.Count(surge, "worker")),
			"a machine that does not come back from its upgrade has to be mended, or made anew",
		}
	}
	return f
}

// resting counts the pods on a node that a drain would have moved.
func resting(s *State, node string) (n int) {
	found := s.Snapshot.Node(node)
	if found == nil {
		return 0
	}
	o := Intent{Force: true, DeleteEmptyDirData: true}.drain()
	for _, p := range found.Pods {
		if o.Leaves(p, s.Snapshot.Time) {
			n++
		}
	}
	return n
}
