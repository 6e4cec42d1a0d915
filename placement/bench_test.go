// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/synthetic"
	"refit.dev/refit/placement"
)

// BenchmarkBoard measures boards of 5,000 nodes and 150,000 pods: of a cluster as
// they are, and of one in which every pod makes demands.
func BenchmarkBoard(b *testing.B) {
	b.Run("usual", func(b *testing.B) { measure(b, func(*corev1.PodSpec, map[string]string) {}) })
	b.Run("demanding", func(b *testing.B) { measure(b, demand) })
}

// demand keeps the pods of a workload apart from each other, and even on nodes
// that take them and in zones.
func demand(spec *corev1.PodSpec, labels map[string]string) {
	same := &metav1.LabelSelector{MatchLabels: labels}
	spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: corev1.LabelHostname, LabelSelector: same}},
	}}
	spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{
		{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: same, NodeTaintsPolicy: ptr.To(corev1.NodeInclusionPolicyHonor)},
		{MaxSkew: 100, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: same},
	}
}

func measure(b *testing.B, change func(*corev1.PodSpec, map[string]string)) {
	shape := synthetic.Large(5000)
	objs, err := shape.Objects()
	if err != nil {
		b.Fatal(err)
	}
	for _, obj := range objs {
		if pod, ok := obj.(*corev1.Pod); ok {
			change(&pod.Spec, map[string]string{"app": pod.Labels["app"]})
		}
	}
	s, err := cluster.FromObjects(shape.Now, objs...)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("New", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			placement.NewBoard(s)
		}
	})
	board := placement.NewBoard(s)
	b.Run("Clone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			board.Clone()
		}
	})
	b.Run("Class", func(b *testing.B) {
		i := 0
		for b.Loop() {
			board.Class(s.Pods[i])
			i = (i + 1) % len(s.Pods)
		}
	})
	classes := make([]placement.Class, len(s.Pods))
	for i, p := range s.Pods {
		classes[i] = board.Class(p)
	}
	numbers := make(map[*cluster.Node]int, len(s.Nodes))
	for i, n := range s.Nodes {
		numbers[n] = i
	}
	b.Run("Fits", func(b *testing.B) {
		i, yes := 0, 0
		for b.Loop() {
			if board.Fits(classes[i%len(classes)], i*31%board.Nodes()) {
				yes++
			}
			i += 7
		}
		b.ReportMetric(float64(yes)/float64(b.N), "fits/op")
	})
	b.Run("TakeAndPut", func(b *testing.B) {
		i := 0
		for b.Loop() {
			node := numbers[s.Pods[i].Host]
			if !board.Take(classes[i], node) {
				b.Fatal("not there")
			}
			board.Put(classes[i], node)
			i = (i + 1) % len(s.Pods)
		}
	})
	b.Run("Load", func(b *testing.B) {
		i, sum := 0, 0.0
		for b.Loop() {
			sum += board.Load(i)
			i = (i + 1) % board.Nodes()
		}
	})
	b.Run("SetOut", func(b *testing.B) {
		i := 0
		for b.Loop() {
			board.SetOut(i, true)
			board.SetOut(i, false)
			i = (i + 1) % board.Nodes()
		}
	})
}
