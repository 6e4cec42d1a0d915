// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"refit.dev/refit/check"
	"refit.dev/refit/cluster"
)

// BenchmarkRun checks clusters of 20 pods per node: workloads of 10 replicas, in
// namespaces of 200 pods, one in 10 with anti-affinity, 3 in 10 spread by zone.
func BenchmarkRun(b *testing.B) {
	for _, nodes := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprintf("%d-nodes", nodes), func(b *testing.B) {
			s, err := cluster.FromObjects(now, large(nodes)...)
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				check.Run(s)
			}
		})
	}
}

func large(nodes int) []runtime.Object {
	const replicas, perNode, perNamespace = 10, 20, 200
	var objs []runtime.Object
	for i := range nodes {
		objs = append(objs, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%04d", i), Labels: map[string]string{
				corev1.LabelHostname: fmt.Sprintf("node-%04d", i), corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i%3)}},
			Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("32Gi"), corev1.ResourcePods: resource.MustParse("110")}},
		})
	}
	for w := range nodes * perNode / replicas {
		namespace, app := fmt.Sprintf("ns-%d", w*replicas/perNamespace), fmt.Sprintf("app-%d", w)
		meta := metav1.ObjectMeta{Namespace: namespace, Name: app, Labels: map[string]string{"app": app}}
		selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
		objs = append(objs, &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: ptr.To[int32](replicas)}},
			&policyv1.PodDisruptionBudget{ObjectMeta: meta, Spec: policyv1.PodDisruptionBudgetSpec{Selector: selector, MaxUnavailable: ptr.To(intstr.FromInt32(1))}})
		for r := range replicas {
			pod := &corev1.Pod{
				ObjectMeta: *meta.DeepCopy(),
				Spec: corev1.PodSpec{
					NodeName: fmt.Sprintf("node-%04d", (w*7+r*13)%nodes),
					Containers: []corev1.Container{{Name: "c", Image: "x:1", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
						corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("256Mi")}}}},
				},
				Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
			}
			pod.Name = fmt.Sprintf("%s-%d", app, r)
			pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: app, Controller: ptr.To(true)}}
			switch w % 10 {
			case 0:
				pod.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
					{TopologyKey: corev1.LabelHostname, LabelSelector: selector}}}}
			case 1, 2, 3:
				pod.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{
					{MaxSkew: 2, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: selector}}
			}
			objs = append(objs, pod)
		}
	}
	return objs
}
