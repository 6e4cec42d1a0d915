// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	requested "k8s.io/component-helpers/resource"
	"k8s.io/utils/ptr"

	"refit.dev/refit/internal/phrase"
)

// shortOf names the quotas that leave less room than the replacements of their namespace ask
// for, as far as it is known what is used. They are no part of the judgement of what fits,
// because nobody can tell when there is room again: a deleted pod counts until twice its grace
// period is over, since the deletion timestamp is after the first one already (QuotaV1Pod in
// pkg/quota/v1/evaluator/core/pods.go, BeforeDelete in
// k8s.io/apiserver/pkg/registry/rest/delete.go), and what is used is counted again only when
// something else happens, or after minutes (--resource-quota-sync-period).
//
// What is made only when the pod before it is gone, or has ended, takes over its share.
func (l *loss) shortOf(list []judged) (out []string) {
	asked := map[string]*request{}
	for i := range list {
		j := &list[i]
		if !j.renewed {
			continue
		}
		r := asked[j.pod.Namespace]
		if r == nil {
			r = &request{}
			asked[j.pod.Namespace] = r
		}
		demand := demandOf(j.pod.Pod)
		r.pods, r.demand = r.pods+1, plus(r.demand, demand)
		if !l.frees(j) {
			r.more = plus(r.more, demand)
		}
	}
	quotas := slices.SortedFunc(slices.Values(l.quotas), func(a, b corev1.ResourceQuota) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i := range quotas {
		if r := asked[quotas[i].Namespace]; r != nil {
			out = append(out, r.shortOf(&quotas[i])...)
		}
	}
	return out
}

// request is what the replacements of a namespace ask for, and how much of that beside what the
// pods had whose place they take.
type request struct {
	pods         int
	demand, more corev1.ResourceList
}

// frees tells whether the share of a pod is free again when another one is made in its place.
// One that has been Terminating for so long that it does not count any more has none.
func (l *loss) frees(j *judged) bool {
	p := j.pod
	if p.DeletionTimestamp != nil && l.since(p.DeletionTimestamp.Time)+float64(ptr.Deref(p.DeletionGracePeriodSeconds, 0)) < 0 {
		return false
	}
	return j.after || vanishes(p)
}

func (r *request) shortOf(q *corev1.ResourceQuota) (out []string) {
	var short, unjudged []string
	for _, name := range slices.Sorted(maps.Keys(q.Status.Hard)) {
		hard, used := q.Status.Hard[name], q.Status.Used[name]
		demand, more := r.demand[name], r.more[name]
		free := hard.DeepCopy()
		free.Sub(used)
		switch {
		case strings.HasPrefix(string(name), limited) && (len(r.more) > 0 && free.IsZero() || free.Sign() < 0):
			unjudged = append(unjudged, fmt.Sprintf("%s: %s of %s are used", name, used.String(), hard.String()))
		case !demand.IsZero() && more.Cmp(free) > 0:
			text := fmt.Sprintf("%s: %s of %s are used", name, used.String(), hard.String())
			if !more.IsZero() {
				text += fmt.Sprintf(", and %s more asked for", more.String())
			}
			short = append(short, text)
		}
	}
	scoped := ""
	if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
		scoped = ", if its scopes are about them"
	}
	pods := phrase.Count(r.pods, "pod")
	if len(short) > 0 {
		out = append(out, fmt.Sprintf("ResourceQuota %s in %s has too little room for the %s to be made there%s (%s): deleted pods count until twice their grace period is over, "+
			"and it may take minutes more until that is noticed, so these come later than is told here, or, if others are faster, not at all",
			q.Name, q.Namespace, pods, scoped, strings.Join(short, "; ")))
	}
	if len(unjudged) > 0 {
		out = append(out, fmt.Sprintf("ResourceQuota %s in %s has no room left for limits (%s): what the %s to be made there may use at the most is not looked at, "+
			"so that they may be refused%s", q.Name, q.Namespace, strings.Join(unjudged, "; "), pods, scoped))
	}
	return out
}

// limited begins the names that quotas have for what pods may use at the most.
const limited = "limits."

// demandOf is what a pod counts for in a quota, by the names that quotas have for it. What
// it may use at the most (limits.cpu) is not known here.
func demandOf(p *corev1.Pod) corev1.ResourceList {
	one := *resource.NewQuantity(1, resource.DecimalSI)
	demand := corev1.ResourceList{corev1.ResourcePods: one, "count/pods": one}
	for name, quantity := range requested.PodRequests(p, requested.PodResourcesOptions{}) {
		demand[corev1.DefaultResourceRequestsPrefix+name] = quantity
		if name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
			demand[name] = quantity
		}
	}
	return demand
}

// plus adds b to a, which may be nil.
func plus(a, b corev1.ResourceList) corev1.ResourceList {
	if a == nil {
		a = corev1.ResourceList{}
	}
	for name, quantity := range b {
		sum := a[name]
		sum.Add(quantity)
		a[name] = sum
	}
	return a
}
