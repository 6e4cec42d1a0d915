// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/synthetic"
	"refit.dev/refit/plan"
)

// BenchmarkRenew renews the World of 5,000 nodes after one change, with the pods
// and budgets in many namespaces, all in one, and with a budget over all of them.
func BenchmarkRenew(b *testing.B) {
	for _, shape := range []string{"many-namespaces", "one-namespace", "one-budget"} {
		b.Run(shape, func(b *testing.B) {
			objs, err := synthetic.Large(5000).Objects()
			if err != nil {
				b.Fatal(err)
			}
			held, err := cluster.Hold(nil)
			if err != nil {
				b.Fatal(err)
			}
			defer held.Stop()
			var pods []*corev1.Pod
			var budgets []*policyv1.PodDisruptionBudget
			for _, obj := range objs {
				if o := obj.(object); o.GetNamespace() != "" && shape != "many-namespaces" {
					o.SetNamespace("one")
				}
				switch o := obj.(type) {
				case *corev1.Pod:
					pods = append(pods, o)
				case *policyv1.PodDisruptionBudget:
					if shape == "one-budget" && len(budgets) > 0 {
						continue
					} else if shape == "one-budget" {
						o.Spec.Selector = &metav1.LabelSelector{}
					}
					budgets = append(budgets, o)
				}
				if err := held.Put(obj); err != nil {
					b.Fatal(err)
				}
			}
			news := held.Subscribe()
			defer news.Close()
			k := plan.Keep(held, drain())
			put := func(o object, n int) {
				o.SetResourceVersion(fmt.Sprint("1", n))
				if err := held.Put(o); err != nil {
					b.Fatal(err)
				}
				k.Renew(news.Take())
			}
			b.Run("pod", func(b *testing.B) {
				for n := 0; b.Loop(); n++ {
					p := pods[n%len(pods)].DeepCopy()
					p.Status.Conditions[1].Status = []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue}[n%2]
					put(p, n)
				}
			})
			b.Run("budget", func(b *testing.B) {
				for n := 0; b.Loop(); n++ {
					o := budgets[n%len(budgets)].DeepCopy()
					o.Status.CurrentHealthy = o.Status.DesiredHealthy - int32(n%2) //nolint:gosec // 0 or 1
					put(o, n)
				}
			})
			b.Run("new-budget", func(b *testing.B) {
				for n := 0; b.Loop(); n++ {
					o := budgets[0].DeepCopy()
					o.Name, o.UID = "new", ""
					o.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "nobody"}}
					o.Spec.UnhealthyPodEvictionPolicy = ptr.To(policyv1.AlwaysAllow)
					put(o, n)
					if err := held.Remove(o); err != nil {
						b.Fatal(err)
					}
					k.Renew(news.Take())
				}
			})
		})
	}
}
