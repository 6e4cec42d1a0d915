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

	"refit.dev/refit/internal/phrase"
)

// shortOf names the quotas that leave less room than the replacements of their namespace ask
// for, as far as it is known what is used. They are no part of the judgement of what fits,
// because nobody can tell when there is room again: a deleted pod counts until its grace
// period is over (QuotaV1Pod in pkg/quota/v1/evaluator/core/pods.go), and what is used is
// counted again only when something else happens, or after minutes (--resource-quota-sync-period).
func shortOf(quotas []corev1.ResourceQuota, list []judged) (out []string) {
	made := map[string]int{}
	asked := map[string]corev1.ResourceList{}
	for i := range list {
		if p := list[i].pod; list[i].renewed {
			made[p.Namespace]++
			asked[p.Namespace] = plus(asked[p.Namespace], demandOf(p.Pod))
		}
	}
	quotas = slices.SortedFunc(slices.Values(quotas), func(a, b corev1.ResourceQuota) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i := range quotas {
		q := &quotas[i]
		var short []string
		for _, name := range slices.Sorted(maps.Keys(q.Status.Hard)) {
			hard, used, more := q.Status.Hard[name], q.Status.Used[name], asked[q.Namespace][name]
			free := hard.DeepCopy()
			free.Sub(used)
			if !more.IsZero() && more.Cmp(free) > 0 {
				short = append(short, fmt.Sprintf("%s: %s of %s are used, and %s more asked for", name, used.String(), hard.String(), more.String()))
			}
		}
		if len(short) == 0 {
			continue
		}
		scoped := ""
		if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			scoped = ", if its scopes are about them"
		}
		out = append(out, fmt.Sprintf("ResourceQuota %s in %s has too little room for the %s to be made there%s (%s): deleted pods count until their grace period is over, "+
			"and it may take minutes more until that is noticed, so these come later than is told here, or, if others are faster, not at all",
			q.Name, q.Namespace, phrase.Count(made[q.Namespace], "pod"), scoped, strings.Join(short, "; ")))
	}
	return out
}

// demandOf is what a pod counts for in a quota, by the names that quotas have for it. What
// it may use at the most (limits.cpu) is not known here.
func demandOf(p *corev1.Pod) corev1.ResourceList {
	one := *resource.NewQuantity(1, resource.DecimalSI)
	demand := corev1.ResourceList{corev1.ResourcePods: one, "count/pods": one}
	for name, quantity := range requested.PodRequests(p, requested.PodResourcesOptions{}) {
		demand[corev1.DefaultResourceRequestsPrefix+name] = quantity
		if name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage {
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
