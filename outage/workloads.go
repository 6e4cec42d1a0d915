// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"math"
	"slices"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// changes are those of the number of healthy pods of one workload.
type changes struct {
	workload *cluster.Workload
	lost     int // healthy ones that go away with the nodes
	gained   []float64
	over     float64 // when it ends, as a Job that fails; never: it does not
}

// suffering collects the workloads that lose pods, in the order of their names.
// Those of DaemonSets do not: they want no pods on nodes that are not there.
func (l *loss) suffering(list []judged) []*changes {
	of := map[*cluster.Workload]*changes{}
	var all []*changes
	for i := range list {
		j := &list[i]
		n := len(j.pod.Controllers)
		if n == 0 || j.pod.DaemonSet() || j.fate == FateFinished {
			continue
		}
		w := j.pod.Controllers[n-1]
		c := of[w]
		if c == nil {
			c = &changes{workload: w, over: never}
			of[w] = c
			all = append(all, c)
		}
		healthy := budget.Healthy(j.pod.Pod)
		if healthy {
			c.lost++
		}
		if j.fate == FateFailsJob && w == j.pod.Controllers[0] {
			c.over = min(c.over, j.when.at.At)
		}
		if (j.ends || j.off == FateFailsJob) && w == j.pod.Controllers[0] {
			c.over = min(c.over, l.returns)
		}
		if again := l.healthyAgain(j); again < never && (healthy || j.worst() == FateReplaced) {
			c.gained = append(c.gained, again)
		}
	}
	slices.SortFunc(all, func(a, b *changes) int {
		x, y := a.workload, b.workload
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name), cmp.Compare(x.UID, y.UID))
	})
	return all
}

// healthyAgain is from when on a pod, or what replaced it, can run again; if that depends on
// whether its machine was off, as if it was.
func (l *loss) healthyAgain(j *judged) float64 {
	if j.off != "" {
		return j.offAgain
	}
	switch j.fate {
	case FateStuck:
		if j.barren {
			return never
		}
		return l.returns
	case FateRestarts, FateStays:
		return l.returns
	case FateReplaced:
		if j.place < 0 {
			return never // it may fit when the node is back, or not
		}
		from := j.when.at.At
		if j.starts != nil {
			from = j.starts.At
		}
		for _, v := range l.volumes(j.pod, j.when.at) {
			if v.Detached == nil {
				return max(from, l.returns)
			}
			from = max(from, v.Detached.At)
		}
		return from
	case FateLost, FateFailsJob, FateFinished:
	}
	return never
}

func healthyOf(w *cluster.Workload) int {
	n := 0
	for _, p := range w.Pods {
		if budget.Healthy(p.Pod) {
			n++
		}
	}
	return n
}

// required is how many healthy pods a budget asks of a workload that it is all
// about; name is "" if there is none.
func required(w *cluster.Workload) (name string, healthy int) {
	if len(w.Pods) == 0 || len(w.Pods[0].Budgets) == 0 {
		return "", 0
	}
	b := w.Pods[0].Budgets[0]
	for _, p := range b.Pods {
		if n := len(p.Controllers); n == 0 || p.Controllers[n-1] != w {
			return b.Name, 0 // shared with others: what it asks of this one cannot be told
		}
	}
	members, known := budget.Steady(b)
	demand, err := budget.Of(b.PodDisruptionBudget, members)
	if err != nil || !known {
		return b.Name, 0
	}
	return b.Name, demand.Desired
}

// workloads says how many healthy pods each workload has from when on.
func (l *loss) workloads(list []judged) []Workload {
	var out []Workload
	for _, c := range l.suffering(list) {
		w := c.workload
		x := Workload{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, Desired: int(w.Desired)}
		x.Budget, x.Required = required(w)
		healthy := healthyOf(w) - c.lost
		x.Steps = []Step{{At: 0, Healthy: healthy}}
		x.Before = healthy + c.lost
		if c.lost == 0 && len(c.gained) == 0 {
			continue // it had none to lose
		}
		slices.Sort(c.gained)
		for _, at := range c.gained {
			if at >= c.over {
				break
			}
			healthy++
			if last := &x.Steps[len(x.Steps)-1]; math.Abs(last.At-at) < 1e-6 {
				last.Healthy = healthy
			} else {
				x.Steps = append(x.Steps, Step{At: at, Healthy: healthy})
			}
		}
		if c.over < never && healthy > 0 {
			x.Steps = append(x.Steps, Step{At: c.over, Healthy: 0})
		}
		out = append(out, x)
	}
	return out
}
