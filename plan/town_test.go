// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
)

// town is a small cluster in the terms of these tests: what the random clusters
// and the transcripts are written in, what API objects are made of, and what the
// checker replays plans against. It knows nothing of how package plan sees a cluster.
type town struct {
	nodes   []townNode
	apps    []townApp
	pods    []townPod
	budgets []townBudget
	intent  plan.Intent
}

type townNode struct {
	name, zone                     string
	cpu, memory, pods              int64 // milli-CPU, MiB, how many
	controlPlane, cordoned, broken bool  // broken: not Ready
	fast, dedicated                bool  // has the label, the taint
	uncordoned                     bool  // a moment ago: the taint of the cordon is still there
}

// inService tells whether the scheduler puts pods there.
func (n *townNode) inService() bool { return !n.cordoned && !n.broken }

type townApp struct {
	name, kind     string // Deployment, StatefulSet, DaemonSet, Job, Pod
	replicas       int
	cpu, memory    int64
	startup        int // seconds from bound to Ready
	grace          int // terminationGracePeriodSeconds; 0: not set
	apart          bool
	spread         int32 // maxSkew over zones; 0: none
	fast, tolerant bool
	port           int32
	zonal          bool // has volumes of the zone that it is in
	recent         bool // pods that are not ready have been so for seconds, not for minutes
	priority       int32
}

// controlled tells whether somebody makes a new pod in the place of one.
func (a *townApp) controlled() bool { return a.kind != "Pod" }

// leaves tells whether a drain evicts its pods.
func (a *townApp) leaves() bool { return a.kind != "DaemonSet" }

// quorum: its members agree by majority, as far as one can tell.
func (a *townApp) quorum() bool { return a.kind == "StatefulSet" && a.replicas >= 3 && a.replicas <= 9 }

// ends is how long an evicted pod is expected to take to be gone.
func (a *townApp) ends() int {
	if a.grace == 0 || a.grace > 30 { // 30 is the default
		return 1
	}
	return a.grace
}

type townPod struct {
	name    string
	app     int
	node    int // -1: none
	unready bool
	pending bool // bound, but not Running
	leaving bool // being deleted
	zone    string
}

func (p *townPod) healthy() bool { return !p.unready && !p.pending && !p.leaving && p.node >= 0 }

type townBudget struct {
	name     string
	apps     []int
	min, max string // number or percentage
	policy   policyv1.UnhealthyPodEvictionPolicyType
	// uncomputable: the disruption controller has failed to compute it again.
	uncomputable bool
}

// count returns how many pods the budget expects and how many it wants healthy,
// as the disruption controller counts.
func (t *town) count(b *townBudget) (expected, desired int) {
	pods, scale := 0, 0
	for _, a := range b.apps {
		for i := range t.pods {
			if t.pods[i].app == a {
				pods++
			}
		}
		if t.apps[a].controlled() {
			scale += t.apps[a].replicas
		}
	}
	scaled := func(text string) int {
		if percent, found := strings.CutSuffix(text, "%"); found {
			n, _ := strconv.Atoi(percent)
			return (n*scale + 99) / 100 // the API server rounds up, whatever it is for
		}
		n, _ := strconv.Atoi(text)
		return n
	}
	switch {
	case b.max != "":
		return scale, max(0, scale-scaled(b.max))
	case strings.HasSuffix(b.min, "%"):
		return scale, scaled(b.min)
	}
	return pods, scaled(b.min)
}

// full is how many pods the budget has when everybody is there.
func (t *town) full(b *townBudget) int {
	n := 0
	for _, a := range b.apps {
		if t.apps[a].controlled() {
			n += t.apps[a].replicas
			continue
		}
		for i := range t.pods {
			if t.pods[i].app == a {
				n++
			}
		}
	}
	return n
}

func (t *town) healthy(b *townBudget) int {
	n := 0
	for i := range t.pods {
		if slices.Contains(b.apps, t.pods[i].app) && t.pods[i].healthy() {
			n++
		}
	}
	return n
}

// budgetsOf returns the numbers of the budgets that select a pod.
func (t *town) budgetsOf(pod int) (list []int) {
	for b := range t.budgets {
		if slices.Contains(t.budgets[b].apps, t.pods[pod].app) {
			list = append(list, b)
		}
	}
	return list
}

// starts is how long a replacement is expected to take to become Ready: as long as
// those took that are.
func (t *town) starts(app int) int {
	if t.apps[app].controlled() && slices.ContainsFunc(t.pods, func(p townPod) bool { return p.app == app && p.node >= 0 && !p.unready && !p.pending }) {
		return t.apps[app].startup
	}
	return 5
}

func (t *town) node(name string) int {
	return slices.IndexFunc(t.nodes, func(n townNode) bool { return n.name == name })
}

func (t *town) pod(name string) int {
	return slices.IndexFunc(t.pods, func(p townPod) bool { return p.name == name })
}

const townNamespace = "shop"

// objects makes API objects of the town.
func (t *town) objects() []runtime.Object {
	var objs []runtime.Object
	for i := range t.nodes {
		objs = append(objs, t.nodes[i].object())
	}
	for i := range t.apps {
		objs = append(objs, t.apps[i].objects()...)
	}
	for i := range t.pods {
		objs = append(objs, t.podObjects(&t.pods[i])...)
	}
	for i := range t.budgets {
		objs = append(objs, t.budgetObject(&t.budgets[i]))
	}
	return objs
}

func (t *town) snapshot() *cluster.Snapshot { return assembled(t.objects()) }

func assembled(objs []runtime.Object) *cluster.Snapshot {
	s, err := cluster.FromObjects(time.Unix(2000, 0), objs...)
	if err != nil {
		panic(err)
	}
	return s
}

// world is how package plan sees the town.
func (t *town) world() *plan.World { return plan.NewWorld(t.snapshot(), drain()) }

func drain() plan.Drain {
	return plan.Drain{Leaves: func(p *cluster.Pod) bool { return !p.DaemonSet() }}
}

func (n *townNode) object() *corev1.Node {
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{corev1.LabelHostname: n.name}}}
	if n.zone != "" {
		o.Labels[corev1.LabelTopologyZone] = n.zone
	}
	if n.controlPlane {
		o.Labels["node-role.kubernetes.io/control-plane"] = ""
	}
	if n.fast {
		o.Labels["disk"] = "fast"
	}
	if n.dedicated {
		o.Spec.Taints = append(o.Spec.Taints, corev1.Taint{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule})
	}
	if n.cordoned {
		o.Spec.Unschedulable = true
		o.Spec.Taints = append(o.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	if n.uncordoned {
		o.Spec.Taints = append(o.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	o.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if n.broken {
		o.Status.Conditions[0].Status = corev1.ConditionUnknown
		o.Spec.Taints = append(o.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute},
			corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoSchedule})
	}
	o.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewMilliQuantity(n.cpu, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(n.memory<<20, resource.BinarySI),
		corev1.ResourcePods: *resource.NewQuantity(n.pods, resource.DecimalSI),
	}
	return o
}

func (a *townApp) template() corev1.PodTemplateSpec {
	labels := map[string]string{"app": a.name}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	c := corev1.Container{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewMilliQuantity(a.cpu, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(a.memory<<20, resource.BinarySI),
	}}}
	if a.port > 0 {
		c.Ports = []corev1.ContainerPort{{ContainerPort: a.port, HostPort: a.port, Protocol: corev1.ProtocolTCP}}
	}
	s := corev1.PodSpec{Containers: []corev1.Container{c}, TerminationGracePeriodSeconds: ptr.To(int64(corev1.DefaultTerminationGracePeriodSeconds))}
	if a.grace > 0 {
		s.TerminationGracePeriodSeconds = ptr.To(int64(a.grace))
	}
	if a.priority > 0 {
		s.Priority = ptr.To(a.priority)
	}
	if a.fast {
		s.NodeSelector = map[string]string{"disk": "fast"}
	}
	if a.tolerant {
		s.Tolerations = []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}
	}
	if a.apart {
		s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{LabelSelector: selector, TopologyKey: corev1.LabelHostname},
		}}}
	}
	if a.spread > 0 {
		s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: a.spread, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: selector,
		}}
	}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: s}
}

func controlledBy(version, kind, name string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: name, Controller: ptr.To(true)}}
}

func (a *townApp) objects() []runtime.Object {
	meta := metav1.ObjectMeta{Namespace: townNamespace, Name: a.name}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": a.name}}
	replicas := ptr.To(int32(a.replicas)) //nolint:gosec // small
	switch a.kind {
	case "Deployment":
		set := metav1.ObjectMeta{Namespace: townNamespace, Name: a.name, OwnerReferences: controlledBy("apps/v1", "Deployment", a.name)}
		return []runtime.Object{
			&appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: replicas, Selector: selector, Template: a.template()}},
			&appsv1.ReplicaSet{ObjectMeta: set, Spec: appsv1.ReplicaSetSpec{Replicas: replicas, Selector: selector, Template: a.template()}},
		}
	case "StatefulSet":
		return []runtime.Object{&appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: replicas, Selector: selector, Template: a.template()}}}
	case "DaemonSet":
		return []runtime.Object{&appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: a.template()}, Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: *replicas}}}
	case "Job":
		return []runtime.Object{&batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Parallelism: replicas, Selector: selector, Template: a.template()}}}
	}
	return nil
}

func (t *town) podObjects(p *townPod) []runtime.Object {
	a := &t.apps[p.app]
	template := a.template()
	o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: townNamespace, Name: p.name, Labels: template.Labels}, Spec: template.Spec}
	switch a.kind {
	case "Deployment":
		o.OwnerReferences = controlledBy("apps/v1", "ReplicaSet", a.name)
	case "StatefulSet", "DaemonSet":
		o.OwnerReferences = controlledBy("apps/v1", a.kind, a.name)
	case "Job":
		o.OwnerReferences = controlledBy("batch/v1", "Job", a.name)
	}
	o.Status.Phase = corev1.PodRunning
	bound := time.Unix(1000, 0)
	if p.node >= 0 {
		o.Spec.NodeName = t.nodes[p.node].name
		o.Status.Conditions = append(o.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(bound)})
	}
	if p.pending || p.node < 0 {
		o.Status.Phase = corev1.PodPending
	}
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(bound.Add(time.Duration(a.startup) * time.Second))}
	if p.unready || p.pending || p.node < 0 {
		ready.Status = corev1.ConditionFalse
		if a.recent {
			ready.LastTransitionTime = metav1.NewTime(time.Unix(1990, 0))
		}
	}
	o.Status.Conditions = append(o.Status.Conditions, ready)
	if p.leaving {
		o.DeletionTimestamp = &metav1.Time{Time: time.Unix(1990, 0)}
	}
	objs := []runtime.Object{o}
	if a.zonal {
		o.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: p.name}}}}
		objs = append(objs,
			&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: townNamespace, Name: p.name}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: p.name}, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}},
			&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: p.name}, Spec: corev1.PersistentVolumeSpec{
				ClaimRef: &corev1.ObjectReference{Namespace: townNamespace, Name: p.name},
				NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{p.zone}}},
				}}}},
			}})
	}
	return objs
}

func (t *town) budgetObject(b *townBudget) *policyv1.PodDisruptionBudget {
	o := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: townNamespace, Name: b.name}}
	var names []string
	for _, a := range b.apps {
		names = append(names, t.apps[a].name)
	}
	o.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: names}}}
	if b.max != "" {
		o.Spec.MaxUnavailable = ptr.To(intstr.Parse(b.max))
	} else {
		o.Spec.MinAvailable = ptr.To(intstr.Parse(b.min))
	}
	if b.policy != "" {
		o.Spec.UnhealthyPodEvictionPolicy = &b.policy
	}
	expected, desired := t.count(b)
	healthy := t.healthy(b)
	allowed := max(0, healthy-desired)
	if expected <= 0 {
		allowed = 0
	}
	//nolint:gosec // small
	o.Status = policyv1.PodDisruptionBudgetStatus{
		ExpectedPods: int32(expected), DesiredHealthy: int32(desired), CurrentHealthy: int32(healthy), DisruptionsAllowed: int32(allowed),
	}
	if b.uncomputable {
		o.Status.DisruptionsAllowed = 0
		o.Status.Conditions = []metav1.Condition{{
			Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason, Message: "found no controllers",
		}}
	}
	return o
}

// draw names what a town consists of, for the message of a failed test.
func (t *town) draw() string {
	var b strings.Builder
	for i := range t.nodes {
		fmt.Fprintf(&b, "%+v\n", t.nodes[i])
	}
	for i := range t.apps {
		fmt.Fprintf(&b, "%d %+v\n", i, t.apps[i])
	}
	for i := range t.pods {
		fmt.Fprintf(&b, "%+v\n", t.pods[i])
	}
	for i := range t.budgets {
		expected, desired := t.count(&t.budgets[i])
		fmt.Fprintf(&b, "%+v expects %d wants %d has %d\n", t.budgets[i], expected, desired, t.healthy(&t.budgets[i]))
	}
	fmt.Fprintf(&b, "%+v\n", t.intent)
	return b.String()
}
