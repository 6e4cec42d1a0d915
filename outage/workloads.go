// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"

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
		if budget.Healthy(j.pod.Pod) {
			c.lost++
		}
		if j.fate == FateFailsJob && w == j.pod.Controllers[0] {
			c.over = min(c.over, j.when.at.At)
		}
		if (j.ends || j.off == FateFailsJob) && w == j.pod.Controllers[0] {
			c.over = min(c.over, l.returns)
		}
		if again := l.healthyAgain(j); again < never && wouldBeHealthy(j.pod) {
			c.gained = append(c.gained, again)
		}
	}
	slices.SortFunc(all, func(a, b *changes) int {
		x, y := a.workload, b.workload
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name), cmp.Compare(x.UID, y.UID))
	})
	return all
}

// wouldBeHealthy tells whether a pod is healthy, or would be if its node was there, and if it
// was not being deleted: what takes its place is then expected to become so, too. The
// pods of a node that is Unknown are set to not Ready, but nobody touches what the kubelet
// said of their containers (MarkPodsNotReady in pkg/controller/util/node/controller_utils.go).
// Snapshots leave out that they were ready.
func wouldBeHealthy(p *cluster.Pod) bool {
	known, ready, contained := false, false, true
	for _, c := range p.Status.Conditions {
		switch c.Type {
		case corev1.PodReady:
			known, ready = true, c.Status == corev1.ConditionTrue
		case corev1.ContainersReady:
			contained = c.Status == corev1.ConditionTrue
		}
	}
	return ready || known && contained && p.Status.Phase == corev1.PodRunning && cluster.Lost(p.Host.Node)
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
		if j.when.at.At > l.returns {
			return l.returns // it is back itself before
		}
		from := max(0, j.when.at.At)
		if j.place < 0 {
			if j.later < 0 {
				return never
			}
			from = max(from, l.returns)
		}
		if j.starts != nil {
			from = max(from, j.starts.At)
		}
		for _, v := range l.volumes(j) {
			if v.Detached == nil {
				return max(from, l.returns)
			}
			from = max(from, v.Detached.At)
		}
		return from
	case FateLost, FateFailsJob, FateUnwanted, FateFinished:
	}
	return never
}

func healthyOf(pods []*cluster.Pod) int {
	n := 0
	for _, p := range pods {
		if budget.Healthy(p.Pod) {
			n++
		}
	}
	return n
}

// required is how many healthy pods the budgets ask of a workload that they are all about:
// the one that asks for most, names all of them. Of one that is shared with others it cannot
// be told what it asks of this one: see budgets.
func required(w *cluster.Workload) (name string, healthy int, names []string) {
	if len(w.Pods) == 0 {
		return "", 0, nil
	}
	for _, b := range w.Pods[0].Budgets {
		names = append(names, b.Name)
		asked := 0
		if !isShared(b) {
			asked = demanded(b)
		}
		if name == "" || asked > healthy {
			name, healthy = b.Name, asked
		}
	}
	return name, healthy, names
}

// isShared tells whether a budget is about pods of several workloads.
func isShared(b *cluster.Budget) bool {
	return slices.ContainsFunc(b.Pods, func(p *cluster.Pod) bool { return top(p) != top(b.Pods[0]) })
}

// top is who answers for a pod; nil: nobody.
func top(p *cluster.Pod) *cluster.Workload {
	if n := len(p.Controllers); n > 0 {
		return p.Controllers[n-1]
	}
	return nil
}

// demanded is how many healthy pods a budget asks for; 0 if that cannot be told.
func demanded(b *cluster.Budget) int {
	members, known := budget.Steady(b)
	demand, err := budget.Of(b.PodDisruptionBudget, members)
	if err != nil || !known {
		return 0
	}
	return demand.Desired
}

// workloads says how many healthy pods each workload has from when on.
func (l *loss) workloads(list []judged) []Workload {
	var out []Workload
	for _, c := range l.suffering(list) {
		w := c.workload
		x := Workload{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, Desired: int(w.Desired)}
		var names []string
		if x.Budget, x.Required, names = required(w); len(names) > 1 {
			x.Budgets = names
		}
		x.Before = healthyOf(w.Pods)
		if c.lost == 0 && len(c.gained) == 0 {
			continue // it had none to lose
		}
		x.Steps = c.steps(x.Before)
		out = append(out, x)
	}
	return out
}

// steps are how many are healthy from when on, of so many before.
func (c *changes) steps(before int) []Step {
	healthy := before - c.lost
	steps := []Step{{At: 0, Healthy: healthy}}
	slices.Sort(c.gained)
	for _, at := range c.gained {
		if at >= c.over {
			break
		}
		healthy++
		if last := &steps[len(steps)-1]; math.Abs(last.At-at) < 1e-6 {
			last.Healthy = healthy
		} else {
			steps = append(steps, Step{At: at, Healthy: healthy})
		}
	}
	if c.over < never && healthy > 0 {
		steps = append(steps, Step{At: c.over, Healthy: 0})
	}
	return steps
}
