// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"refit.dev/refit/twin/simulated"
)

const (
	leastNodes, mostNodes = 4, 12
	zones                 = 3
	nodeCPU               = 4000 // milli-CPU
	largestPod            = 700  // milli-CPU: so that what is free on the nodes is not in crumbs
)

// trial is a cluster and what is asked for.
type trial struct {
	seed           uint64
	nodes          int
	load           float64 // part of the CPU that is requested
	maxUnavailable string
	perZone        int
	workloads      []workload
}

type workload struct {
	name      string
	stateful  bool
	replicas  int
	cpu       int // milli-CPU of each pod
	ready     time.Duration
	terminate time.Duration
	apart     bool   // never two pods on one node
	spread    string // whenUnsatisfiable of a spread over the zones; "" for none
	// budget has one of its fields set; nil for no budget.
	budget *policyv1.PodDisruptionBudgetSpec
}

// newTrial makes the trial of a seed. All of them can be done: no budget forbids
// every eviction, and with a few nodes away there is room for everything.
func newTrial(seed uint64) *trial {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // it is to be the same every time
	t := &trial{seed: seed, nodes: leastNodes + r.IntN(mostNodes-leastNodes+1)}
	t.maxUnavailable = fmt.Sprint(1 + r.IntN(max(2, t.nodes/2)))
	if r.IntN(2) == 0 {
		t.maxUnavailable = fmt.Sprintf("%d%%", 20+5*r.IntN(7))
	}
	if r.IntN(4) == 0 {
		t.perZone = 1 + r.IntN(2)
	}
	t.load = 0.2 + r.Float64()*(min(0.8, 1-2/float64(t.nodes))-0.2)
	total := 0
	for i := range 2 + r.IntN(6) {
		w := t.workload(r, i)
		t.workloads = append(t.workloads, w)
		total += w.replicas * w.cpu
	}
	for i := range t.workloads {
		w := &t.workloads[i]
		w.cpu = max(10, min(largestPod, int(float64(w.cpu)*t.load*float64(t.nodes*nodeCPU)/float64(total))))
	}
	t.loosen()
	return t
}

// loosen makes spreads soft if the pods that may not leave their zone need more than
// three quarters of what the smallest zone has with a node out: pods do not fill nodes
// exactly. With less room than that some pod may fit nowhere, and a budget wait for it
// for ever, whatever the order.
func (t *trial) loosen() {
	share := 0
	for _, w := range t.workloads {
		if w.spread == string(corev1.DoNotSchedule) {
			share += (w.replicas + zones - 1) / zones * w.cpu
		}
	}
	if left := (t.nodes/zones - 1) * nodeCPU; 4*share <= 3*left {
		return
	}
	for i := range t.workloads {
		if w := &t.workloads[i]; w.spread == string(corev1.DoNotSchedule) {
			w.spread = string(corev1.ScheduleAnyway)
		}
	}
}

func (t *trial) workload(r *rand.Rand, i int) workload {
	w := workload{
		name: fmt.Sprintf("web-%d", i), replicas: 1 + r.IntN(2*t.nodes), cpu: 1 + r.IntN(4),
		ready: time.Duration(50+r.IntN(600)) * time.Millisecond, terminate: time.Duration(r.IntN(400)) * time.Millisecond,
	}
	if r.IntN(4) == 0 {
		w.name, w.stateful, w.replicas = fmt.Sprintf("db-%d", i), true, 1+r.IntN(min(5, t.nodes-2))
	}
	switch r.IntN(5) {
	case 0:
		w.apart = true
		w.replicas = min(w.replicas, t.nodes-2)
	case 1:
		w.spread = string(corev1.ScheduleAnyway)
	case 2:
		w.spread = string(corev1.DoNotSchedule)
		// A zone of one node that is out takes no pods, and allows no more in the others:
		// with two pods there, of which the budget lets one go, nobody can drain that node.
		if t.nodes < 2*zones {
			w.spread = string(corev1.ScheduleAnyway)
		}
	}
	if w.replicas > 1 && r.IntN(5) > 0 {
		w.budget = randomBudget(r, w.replicas)
	}
	return w
}

// randomBudget lets one of so many pods go at the least: a percentage is rounded up.
func randomBudget(r *rand.Rand, replicas int) *policyv1.PodDisruptionBudgetSpec {
	b := &policyv1.PodDisruptionBudgetSpec{}
	if r.IntN(3) == 0 {
		b.UnhealthyPodEvictionPolicy = ptr.To(policyv1.AlwaysAllow)
	}
	switch r.IntN(4) {
	case 0:
		b.MaxUnavailable = ptr.To(intstr.FromInt(1 + r.IntN(max(1, replicas/3))))
	case 1:
		b.MaxUnavailable = ptr.To(intstr.FromString(fmt.Sprintf("%d%%", 1+r.IntN(50))))
	case 2:
		b.MinAvailable = ptr.To(intstr.FromInt(replicas - 1 - r.IntN(max(1, replicas/3))))
	case 3:
		most := 100 * (replicas - 1) / replicas // more than that would be all of them
		b.MinAvailable = ptr.To(intstr.FromString(fmt.Sprintf("%d%%", most-r.IntN(max(1, most/2)))))
	}
	return b
}

// namespace is where the trial's workloads are.
func (t *trial) namespace() string { return fmt.Sprintf("soak-%d", t.seed) }

func (t *trial) String() string {
	pods, budgets := 0, 0
	for _, w := range t.workloads {
		pods += w.replicas
		if w.budget != nil {
			budgets++
		}
	}
	return fmt.Sprintf("seed %d: %d nodes at %.0f%%, %d pods of %d workloads, %d budgets, %s nodes out at most, %d per zone",
		t.seed, t.nodes, 100*t.load, pods, len(t.workloads), budgets, t.maxUnavailable, t.perZone)
}

// manifests are the objects of the trial, as JSON values one after the other.
func (t *trial) manifests() ([]byte, error) {
	objs := []runtime.Object{&corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: t.namespace()},
	}}
	for i := range t.workloads {
		objs = append(objs, t.workloads[i].objects(t.namespace())...)
	}
	var all []byte
	for _, obj := range objs {
		data, err := json.Marshal(obj)
		if err != nil {
			return nil, err
		}
		all = append(append(all, data...), '\n')
	}
	return all, nil
}

func (w *workload) objects(namespace string) []runtime.Object {
	labels := map[string]string{"app": w.name}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: w.name}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{
			simulated.ReadyAfterAnnotation: w.ready.String(), simulated.TerminateAfterAnnotation: w.terminate.String(),
		}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.invalid/app", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(int64(w.cpu), resource.DecimalSI)},
		}}}},
	}
	if w.apart {
		template.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: corev1.LabelHostname, LabelSelector: selector}},
		}}
	}
	if w.spread != "" {
		template.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.UnsatisfiableConstraintAction(w.spread), LabelSelector: selector,
		}}
	}
	replicas := ptr.To(int32(w.replicas)) //nolint:gosec // far below
	apps := func(kind string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: "apps/v1", Kind: kind} }
	var objs []runtime.Object
	if w.stateful {
		objs = append(objs, &appsv1.StatefulSet{TypeMeta: apps("StatefulSet"), ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{
			Replicas: replicas, Selector: selector, Template: template, ServiceName: w.name, PodManagementPolicy: appsv1.ParallelPodManagement,
		}})
	} else {
		objs = append(objs, &appsv1.Deployment{TypeMeta: apps("Deployment"), ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
			Replicas: replicas, Selector: selector, Template: template,
		}})
	}
	if w.budget != nil {
		b := &policyv1.PodDisruptionBudget{TypeMeta: metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}, ObjectMeta: meta, Spec: *w.budget}
		b.Spec.Selector = selector
		objs = append(objs, b)
	}
	return objs
}
