// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// node is one that lacks this and that.
func (g *generator) node(i int) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%02d", i), Labels: map[string]string{}}}
	label := func(key, value string) {
		if !g.sometimes(8) {
			n.Labels[key] = value
		}
	}
	label(corev1.LabelHostname, n.Name)
	label(corev1.LabelTopologyZone, fmt.Sprintf("zone-%d", g.IntN(3)))
	label("disk", []string{"fast", "slow"}[g.IntN(2)])
	if g.sometimes(5) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "dedicated", Value: "batch", Effect: corev1.TaintEffectNoSchedule})
	}
	if g.sometimes(5) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "odd", Effect: corev1.TaintEffectPreferNoSchedule})
	}
	if g.sometimes(6) {
		n.Spec.Unschedulable = true
	}
	switch g.IntN(10) {
	case 0:
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}
	case 1:
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute})
	}
	n.Status.Allocatable = corev1.ResourceList{}
	for name, amount := range map[corev1.ResourceName]string{
		corev1.ResourceCPU: "4", corev1.ResourceMemory: "4Gi", corev1.ResourcePods: "8", corev1.ResourceEphemeralStorage: "1Gi", "example.com/gpu": "2",
	} {
		n.Status.Allocatable[name] = resource.MustParse(amount)
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourcePods, "example.com/gpu"} {
		if g.sometimes(10) {
			delete(n.Status.Allocatable, name)
		}
	}
	if g.sometimes(10) {
		n.Status.Allocatable = nil
	}
	return n
}

// oddPod is pod with more of what seldom occurs.
func (g *generator) oddPod(i int) *corev1.Pod {
	p := g.pod(i)
	p.Labels["index"] = fmt.Sprint(i)
	requests := p.Spec.Containers[0].Resources.Requests
	if requests != nil && g.sometimes(4) {
		requests["example.com/gpu"] = resource.MustParse("1")
	}
	if requests != nil && g.sometimes(6) {
		requests[corev1.ResourceEphemeralStorage] = resource.MustParse("300Mi")
	}
	if g.sometimes(10) {
		p.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")}
	}
	if g.sometimes(10) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists})
	}
	if a := p.Spec.Affinity.NodeAffinity; a != nil && g.sometimes(2) {
		a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms = []corev1.NodeSelectorTerm{
			{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{"zone-1", "zone-7"}}}},
			{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"fast"}}}},
			{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"node-00"}}}},
			{},
		}
	}
	if a := p.Spec.Affinity.PodAffinity; a != nil && g.sometimes(3) {
		a.RequiredDuringSchedulingIgnoredDuringExecution = append(a.RequiredDuringSchedulingIgnoredDuringExecution, g.oddTerm())
	}
	if a := p.Spec.Affinity.PodAntiAffinity; a != nil && g.sometimes(3) {
		a.RequiredDuringSchedulingIgnoredDuringExecution = append(a.RequiredDuringSchedulingIgnoredDuringExecution, g.oddTerm())
	}
	if len(p.Spec.TopologySpreadConstraints) > 0 {
		c := &p.Spec.TopologySpreadConstraints[0]
		if g.sometimes(4) {
			c.NodeAffinityPolicy = ptr.To(corev1.NodeInclusionPolicyIgnore)
		}
		if g.sometimes(4) {
			c.MaxSkew = 2
		}
		if g.sometimes(4) {
			p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, corev1.TopologySpreadConstraint{
				MaxSkew: 1, TopologyKey: g.topology(), LabelSelector: g.oddSelector(),
				WhenUnsatisfiable: []corev1.UnsatisfiableConstraintAction{corev1.DoNotSchedule, corev1.ScheduleAnyway}[g.IntN(2)],
			})
		}
	}
	return p
}

func (g *generator) oddTerm() corev1.PodAffinityTerm {
	t := corev1.PodAffinityTerm{TopologyKey: g.topology(), LabelSelector: g.oddSelector(), Namespaces: []string{"a", "b", "a"}[:g.IntN(4)]}
	if g.sometimes(4) {
		t.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}
	}
	return t
}

func (g *generator) oddSelector() *metav1.LabelSelector {
	expression := func(key string, operator metav1.LabelSelectorOperator, values ...string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
	}
	switch g.IntN(9) {
	case 0:
		return nil
	case 1:
		return &metav1.LabelSelector{}
	case 2:
		return expression("app", "Nonsense")
	case 3:
		return expression("app", metav1.LabelSelectorOpNotIn, "x")
	case 4:
		return expression("version", metav1.LabelSelectorOpExists)
	case 5:
		return expression("index", metav1.LabelSelectorOpIn, "1", "2", "3")
	}
	return expression("app", metav1.LabelSelectorOpIn, "x", "y")
}

// volume is one that the pod's claim is bound to, of a node or of a zone.
func (g *generator) volume(p *corev1.Pod) *corev1.PersistentVolume {
	terms := []corev1.NodeSelectorTerm{
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{"zone-0", "zone-2"}}}},
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{"node-01"}}}},
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpDoesNotExist}}},
	}
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}
	v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: p.Namespace, Name: p.Name}
	v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms[g.IntN(3):]}}
	if g.sometimes(8) {
		v.Spec.NodeAffinity = nil
	}
	return v
}
