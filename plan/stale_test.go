// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"refit.dev/refit/plan"
)

// Of four nodes the first two are to be maintained; web has pods on them, api has none.
const staleTown = `
node n1..n4 zone=a
deployment web on=n1,n2,n3
deployment api on=n3,n4
budget web min=1
budget api max=1
maintain n1 n2
`

// TestChanges: what makes another plan of a cluster is said, and nothing else.
func TestChanges(t *testing.T) {
	made := time.Unix(2000, 0)
	for _, tt := range []struct {
		name   string
		town   func(*town)
		object func(runtime.Object)
		want   []string
	}{
		{name: "nothing"},
		{name: "a node more, and one that is back", town: func(x *town) { x.nodes = append(x.nodes, townNode{name: "n5", cpu: 1000}) }},
		{name: "a node is gone", town: func(x *town) { x.nodes = x.nodes[:3]; x.pods = x.pods[:4] }, want: []string{"node n4 is gone"}},
		{name: "cordoned", town: func(x *town) { x.nodes[3].cordoned = true }, want: []string{"node n4 was cordoned"}},
		{name: "not Ready", town: func(x *town) { x.nodes[1].broken = true }, want: []string{"node n2 is not Ready any more"}},
		{name: "another zone", town: func(x *town) { x.nodes[3].zone = "b" }, want: []string{`node n4 moved from zone "a" to "b"`}},
		{name: "less room", town: func(x *town) { x.nodes[2].cpu = 1000 }, want: []string{"node n3 has cpu 1, memory 8Gi, pods 20 now, not cpu 2, memory 8Gi, pods 20"}},
		{name: "a taint", town: func(x *town) { x.nodes[2].dedicated = true }, want: []string{"node n3 has the taint dedicated:NoSchedule now"}},
		{name: "a taint of Kubernetes, and a soft one", object: func(o runtime.Object) {
			if n, ok := o.(*corev1.Node); ok {
				n.Spec.Taints = []corev1.Taint{
					{Key: corev1.TaintNodeMemoryPressure, Effect: corev1.TaintEffectNoSchedule}, {Key: "refit.dev/maintenance", Effect: corev1.TaintEffectPreferNoSchedule},
				}
			}
		}},
		{name: "another machine of that name", object: func(o runtime.Object) {
			if n, ok := o.(*corev1.Node); ok && n.Name == "n1" {
				n.UID = "other"
			}
		}, want: []string{"node n1 was replaced by another one of that name"}},
		{name: "a budget says something else", town: func(x *town) { x.budgets[0].min = "2" }, want: []string{"PodDisruptionBudget shop/web says minAvailable: 2 now, not minAvailable: 1"}},
		{name: "a budget of nobody who moves says something else", town: func(x *town) { x.budgets[1].max = "0" }},
		{name: "a budget lets fewer go", town: func(x *town) {
			x.apps[0].replicas = 2
			x.pods = slices.Delete(x.pods, 2, 3)
		}, want: []string{"PodDisruptionBudget shop/web lets 1 go at once at best now, not 2"}},
		{name: "a budget is gone", town: func(x *town) { x.budgets = x.budgets[1:] }, want: []string{"PodDisruptionBudget shop/web is gone"}},
		{name: "a new budget", town: func(x *town) { x.budgets = append(x.budgets, townBudget{name: "too", apps: []int{0}, max: "1"}) }, object: func(o runtime.Object) {
			if b, ok := o.(*policyv1.PodDisruptionBudget); ok && b.Name == "too" {
				b.CreationTimestamp = metav1.NewTime(made.Add(time.Second))
			}
		}, want: []string{"PodDisruptionBudget shop/too is new"}},
		{name: "the pods of a budget have left the nodes", town: func(x *town) { x.pods[0].node, x.pods[1].node = 3, 3 }},
		{name: "pods of another budget have come to them", town: func(x *town) { x.pods[3].node = 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, now := must(parseTown(staleTown)), must(parseTown(staleTown))
			if tt.town != nil {
				tt.town(now)
			}
			objs := now.objects()
			for _, o := range objs {
				if tt.object != nil {
					tt.object(o)
				}
			}
			// What a plan stands on is kept as text.
			var kept plan.Ground
			if err := json.Unmarshal([]byte(encode(before.world().GroundOf(&before.intent))), &kept); err != nil {
				t.Fatal(err)
			}
			got := kept.Changes(&before.intent, plan.NewWorld(assembled(objs), drain()).GroundOf(&before.intent), made)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q\nwant %q", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}
