// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package synthetic_test

import (
	"fmt"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/synthetic"
	"refit.dev/refit/placement"
)

func snapshot(t *testing.T, shape synthetic.Shape) *cluster.Snapshot {
	t.Helper()
	objs, err := shape.Objects()
	if err != nil {
		t.Fatal(err)
	}
	s, err := cluster.FromObjects(shape.Now, objs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is made is a cluster as it would run: every pod has a place that the
// scheduler's rules allow, and every budget lets something go.
func TestClustersAreSound(t *testing.T) {
	for _, load := range []float64{0.6, 0.85} {
		for seed := range uint64(5) {
			shape := synthetic.Large(60)
			shape.Seed, shape.Load = seed, load
			t.Run(fmt.Sprintf("load %v, seed %d", load, seed), func(t *testing.T) {
				s := snapshot(t, shape)
				if len(s.Nodes) != shape.Nodes || len(s.Pods) != shape.Pods || len(s.Budgets) != shape.Budgets {
					t.Fatalf("%d nodes, %d pods, %d budgets: want %+v", len(s.Nodes), len(s.Pods), len(s.Budgets), shape)
				}
				room := placement.New(s)
				var requested, allocatable int64
				for _, p := range s.Pods {
					if p.Host == nil || len(p.Controllers) == 0 || !budget.Healthy(p.Pod) || len(p.Budgets) > 1 {
						t.Errorf("pod %s/%s: node %v, %d controllers, %d budgets", p.Namespace, p.Name, p.Host, len(p.Controllers), len(p.Budgets))
						continue
					}
					if reasons := room.Fits(p.Pod, p.Host); !p.DaemonSet() && len(reasons) > 0 {
						t.Errorf("pod %s/%s is on %s: %v", p.Namespace, p.Name, p.Host.Name, reasons)
					}
					for _, c := range p.Spec.Containers {
						requested += c.Resources.Requests.Cpu().MilliValue()
					}
				}
				for _, n := range s.Nodes[3:] {
					allocatable += n.Status.Allocatable.Cpu().MilliValue()
				}
				if got := float64(requested) / float64(allocatable); got < load-0.1 || got > load+0.02 {
					t.Errorf("%.2f of the CPU is requested", got)
				}
				for _, b := range s.Budgets {
					members := budget.Members{Pods: len(b.Pods), Scale: len(b.Pods)}
					want, err := budget.Of(b.PodDisruptionBudget, members)
					if got := b.Status; err != nil || int(got.ExpectedPods) != want.Expected || int(got.CurrentHealthy) != len(b.Pods) ||
						int(got.DesiredHealthy) != want.Desired || int(got.DisruptionsAllowed) != want.AtBest(members) || want.AtBest(members) < 1 {
						t.Errorf("budget %s/%s of %d pods: status %+v, want %+v, %v", b.Namespace, b.Name, len(b.Pods), got, want, err)
					}
				}
			})
		}
	}
}

func TestTheSameShapeGivesTheSameObjects(t *testing.T) {
	shape := synthetic.Large(20)
	first, err := shape.Objects()
	if err != nil {
		t.Fatal(err)
	}
	second, err := shape.Objects()
	if err != nil || !reflect.DeepEqual(first, second) {
		t.Errorf("two clusters of one shape differ: %v", err)
	}
	shape.Seed++
	if third, err := shape.Objects(); err != nil || reflect.DeepEqual(first, third) {
		t.Errorf("another seed makes no difference: %v", err)
	}
}

func TestShapesThatCannotBe(t *testing.T) {
	for what, change := range map[string]func(*synthetic.Shape){
		"too few nodes":    func(s *synthetic.Shape) { s.Nodes = 9 },
		"too few pods":     func(s *synthetic.Shape) { s.Pods = s.Nodes },
		"too many pods":    func(s *synthetic.Shape) { s.Pods = 101 * s.Nodes },
		"no budget":        func(s *synthetic.Shape) { s.Budgets = 0 },
		"too many budgets": func(s *synthetic.Shape) { s.Budgets = s.Pods },
		"no load":          func(s *synthetic.Shape) { s.Load = 0 },
		"too much load":    func(s *synthetic.Shape) { s.Load = 1 },
	} {
		shape := synthetic.Large(50)
		change(&shape)
		if _, err := shape.Objects(); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// Every kind of rule that makes planning hard is there.
func TestClustersAreVaried(t *testing.T) {
	s := snapshot(t, synthetic.Large(300))
	var apart, spread, volumes, stateful, control int
	for _, p := range s.Pods {
		if p.Spec.Affinity != nil {
			apart++
		}
		if len(p.Spec.TopologySpreadConstraints) > 0 {
			spread++
		}
		if len(p.Volumes) > 0 {
			volumes++
		}
		if p.Controllers[0].Kind == "StatefulSet" {
			stateful++
		}
	}
	for _, n := range s.Nodes {
		for _, taint := range n.Spec.Taints {
			if taint.Effect == corev1.TaintEffectNoSchedule {
				control++
			}
		}
	}
	if apart == 0 || spread == 0 || volumes == 0 || stateful == 0 || control != 3 {
		t.Errorf("%d apart, %d spread, %d with volumes, %d of StatefulSets, %d nodes of the control plane", apart, spread, volumes, stateful, control)
	}
}
