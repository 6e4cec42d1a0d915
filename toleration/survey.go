// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package toleration

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// Report is what is in force in a cluster. It is the JSON of `refit
// eviction-timeout get`. Lists are sorted by namespace, kind and name.
type Report struct {
	// Defaults are for the two Taints, in their order.
	Defaults [2]Default `json:"defaults"`
	// Workloads are those whose pod template gives other times than the defaults,
	// and pods without a controller that have other times.
	Workloads []Workload `json:"workloads"`
	// Older are pods that have other times than a new pod of the same workload
	// would get: times are written into a pod when it is created.
	Older []Older `json:"olderPods"`
	// Same is how many workloads take the defaults, CronJobs included, DaemonSets how many there are:
	// their pods tolerate both taints for ever, whatever the template says
	// (AddOrUpdateDaemonPodTolerations in pkg/controller/daemon/util).
	Same       int `json:"workloadsWithDefaults"`
	DaemonSets int `json:"daemonSets"`
	// Remarks are what is not known.
	Remarks []string `json:"remarks,omitempty"`
}

// Workload is a workload whose pods tolerate a lost node for other times than the
// defaults.
type Workload struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// NotReady and Unreachable are for the two Taints.
	NotReady    Patience `json:"notReady"`
	Unreachable Patience `json:"unreachable"`
	// Pods are how many it has now.
	Pods int `json:"pods"`
	// Why is in words what makes it differ.
	Why string `json:"why"`
}

// Older are pods of a workload that were made when other times were in force.
type Older struct {
	Kind        string   `json:"kind"`
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	Pods        int      `json:"pods"`
	NotReady    Patience `json:"notReady"`
	Unreachable Patience `json:"unreachable"`
}

// times are a pod's for both Taints.
type times [2]Patience

func (t times) same(u times) bool { return t[0].Same(u[0]) && t[1].Same(u[1]) }

// Scope is which workloads are looked at; its zero value is all of them.
type Scope struct {
	// Namespace is theirs, "" any.
	Namespace string
	// Labels are those of the workload, and of a pod without a controller; nil any.
	Labels labels.Selector
}

func (x Scope) has(namespace string, set labels.Set) bool {
	return (x.Namespace == "" || x.Namespace == namespace) && (x.Labels == nil || x.Labels.Matches(set))
}

// Survey looks at every workload of a Snapshot in the Scope, and at CronJobs, which are
// not in it. Of a CronJob that is left out only the pods that it has now are looked at.
func Survey(s *cluster.Snapshot, cronJobs []*Target, in Scope) *Report {
	r := &Report{Defaults: Defaults(s), Workloads: []Workload{}, Older: []Older{}}
	seen := map[string]*cluster.Workload{} // CronJobs that have Jobs
	for _, w := range s.Workloads {
		cronJob := w.Kind == "CronJob" && slices.ContainsFunc(cronJobs, func(t *Target) bool { return t.Namespace == w.Namespace && t.Name == w.Name })
		switch {
		case w.Top() != w: // what is above decides
		case !cronJob && !in.has(w.Namespace, w.Labels):
		case cronJob:
			seen[w.Namespace+"/"+w.Name] = w
		case w.Kind == "DaemonSet":
			r.DaemonSets++
		case w.Kind == "Job" && len(living(w)) == 0: // it has ended
		case w.PodSpec != nil:
			r.template(w, w.PodSpec.Tolerations)
		default:
			r.unknown(w)
		}
	}
	for _, t := range cronJobs {
		if !in.has(t.Namespace, t.Labels) {
			continue
		}
		w := seen[t.Namespace+"/"+t.Name]
		if w == nil {
			w = &cluster.Workload{Kind: t.Kind, Namespace: t.Namespace, Name: t.Name}
		}
		r.template(w, t.Tolerations)
	}
	for _, p := range s.Pods {
		if len(p.Controllers) == 0 && in.has(p.Namespace, p.Labels) && !p.Mirror() && !budget.Finished(p.Pod) {
			r.bare(p)
		}
	}
	r.finish()
	return r
}

func (r *Report) defaults() times { return times{r.Defaults[0].Patience(), r.Defaults[1].Patience()} }

func (r *Report) of(tolerations []corev1.Toleration) times {
	return times{
		Of(tolerations, r.Defaults[0].Taint, r.Defaults[0].Seconds),
		Of(tolerations, r.Defaults[1].Taint, r.Defaults[1].Seconds),
	}
}

// template is a workload whose template is known to have these tolerations.
func (r *Report) template(w *cluster.Workload, tolerations []corev1.Toleration) {
	fresh := r.of(tolerations)
	if fresh.same(r.defaults()) {
		r.Same++
	} else {
		r.Workloads = append(r.Workloads, Workload{
			Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, NotReady: fresh[0], Unreachable: fresh[1], Pods: len(living(w)), Why: why(fresh),
		})
	}
	r.older(w, fresh)
}

// unknown is a controller of a kind that is not read. Its pods are taken for what
// it makes.
func (r *Report) unknown(w *cluster.Workload) {
	r.older(w, r.defaults())
}

// bare is a pod that nobody controls. It is its own template.
func (r *Report) bare(p *cluster.Pod) {
	has := r.of(p.Spec.Tolerations)
	if has.same(r.defaults()) {
		return
	}
	r.Workloads = append(r.Workloads, Workload{
		Kind: "Pod", Namespace: p.Namespace, Name: p.Name, NotReady: has[0], Unreachable: has[1], Pods: 1, Why: why(has),
	})
}

// older counts the pods of w that have other times than fresh ones.
func (r *Report) older(w *cluster.Workload, fresh times) {
	var groups []times
	counts := map[int]int{}
	for _, p := range living(w) {
		has := r.of(p.Spec.Tolerations)
		if has.same(fresh) {
			continue
		}
		i := slices.IndexFunc(groups, has.same)
		if i < 0 {
			i = len(groups)
			groups = append(groups, has)
		}
		counts[i]++
	}
	for i, has := range groups {
		r.Older = append(r.Older, Older{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, Pods: counts[i], NotReady: has[0], Unreachable: has[1]})
	}
}

// living are the pods of w that have not ended.
func living(w *cluster.Workload) []*cluster.Pod {
	return slices.DeleteFunc(slices.Clone(w.Pods), func(p *cluster.Pod) bool { return budget.Finished(p.Pod) || p.DeletionTimestamp != nil })
}

// why says in words what makes the times differ from the defaults.
func why(t times) string {
	a, b := t[0].Source, t[1].Source
	switch {
	case a == SourceUnmatched || b == SourceUnmatched:
		return "its toleration does not match the taint, and keeps the default away: its pods are deleted at once"
	case a == SourceAny && b == SourceAny:
		return "it tolerates every taint"
	case a == SourceAny || b == SourceAny:
		return "it tolerates every taint, and one of these for a time of its own"
	case a == SourceDefault:
		return "it has a time of its own for unreachable alone"
	case b == SourceDefault:
		return "it has a time of its own for not-ready alone"
	}
	return "it has times of its own"
}

func (r *Report) finish() {
	slices.SortFunc(r.Workloads, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(r.Older, func(a, b Older) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	if len(r.Defaults[0].Servers) == 0 {
		r.Remarks = append(r.Remarks, "no kube-apiserver is to be seen (a managed cluster?), so its flags are assumed not to be set")
	}
	r.Remarks = append(r.Remarks, Remarks(r.Defaults)...)
}
