// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

const controlPlaneRole = "node-role.kubernetes.io/control-plane"

func (m *maker) meta(namespace, name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(m.uid()), ResourceVersion: "1", Generation: 1,
		CreationTimestamp: metav1.NewTime(m.Now.Add(-24 * time.Hour)), Labels: labels,
	}
}

func controlledBy(kind string, owner *metav1.ObjectMeta) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: kind, Name: owner.Name, UID: owner.UID, Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
	}}
}

// makeNodes makes the control plane first.
func (m *maker) makeNodes() {
	for i := range m.Nodes {
		name := fmt.Sprintf("node-%05d", i)
		zone := i % zones
		labels := map[string]string{
			corev1.LabelHostname: name, corev1.LabelTopologyZone: zoneName(zone), corev1.LabelTopologyRegion: "region-1",
			corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}
		capacity := corev1.ResourceList{
			corev1.ResourceCPU: *resource.NewMilliQuantity(milliCPU, resource.DecimalSI), corev1.ResourceMemory: memory(mebibytes),
			corev1.ResourcePods: *resource.NewQuantity(maxPods, resource.DecimalSI),
		}
		n := &corev1.Node{ObjectMeta: m.meta("", name, labels)}
		n.Status.Capacity, n.Status.Allocatable = capacity, capacity.DeepCopy()
		n.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", BootID: m.uid(), MachineID: m.uid()}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}}
		if i < controlPlanes {
			labels[controlPlaneRole] = ""
			n.Spec.Taints = []corev1.Taint{{Key: controlPlaneRole, Effect: corev1.TaintEffectNoSchedule}}
		}
		m.objects = append(m.objects, n)
		m.hosts = append(m.hosts, host{Node: n, zone: zone, cpu: milliCPU - daemonSets*daemonCPU, mem: mebibytes - daemonSets*daemonMem, pod: maxPods - daemonSets})
	}
}

func zoneName(zone int) string { return "region-1" + string(rune('a'+zone)) }

func memory(mebibytes int) resource.Quantity {
	return *resource.NewQuantity(int64(mebibytes)<<20, resource.BinarySI)
}

// makeWorkload makes the controllers of a workload and returns the nearest one of its pods.
func (m *maker) makeWorkload(w *workload) []metav1.OwnerReference {
	labels := map[string]string{"app": w.name}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: m.podSpec(w)}
	replicas := ptr.To(int32(w.replicas)) //nolint:gosec // far below
	selector := &metav1.LabelSelector{MatchLabels: labels}
	if w.stateful {
		set := &appsv1.StatefulSet{ObjectMeta: m.meta(w.namespace, w.name, labels)}
		set.Spec = appsv1.StatefulSetSpec{Replicas: replicas, Selector: selector, Template: template, ServiceName: w.name}
		set.Status = appsv1.StatefulSetStatus{Replicas: *replicas, ReadyReplicas: *replicas, ObservedGeneration: 1}
		m.objects = append(m.objects, set)
		return controlledBy("StatefulSet", &set.ObjectMeta)
	}
	deployment := &appsv1.Deployment{ObjectMeta: m.meta(w.namespace, w.name, labels)}
	deployment.Spec = appsv1.DeploymentSpec{Replicas: replicas, Selector: selector, Template: template}
	deployment.Status = appsv1.DeploymentStatus{Replicas: *replicas, ReadyReplicas: *replicas, ObservedGeneration: 1}
	set := &appsv1.ReplicaSet{ObjectMeta: m.meta(w.namespace, w.name+"-"+hash, map[string]string{"app": w.name, appsv1.DefaultDeploymentUniqueLabelKey: hash})}
	set.OwnerReferences = controlledBy("Deployment", &deployment.ObjectMeta)
	set.Spec = appsv1.ReplicaSetSpec{Replicas: replicas, Selector: selector, Template: *template.DeepCopy()}
	set.Status = appsv1.ReplicaSetStatus{Replicas: *replicas, ReadyReplicas: *replicas, ObservedGeneration: 1}
	m.objects = append(m.objects, deployment, set)
	return controlledBy("ReplicaSet", &set.ObjectMeta)
}

// hash stands for the hash of a pod template.
const hash = "7d9f8b6c5d"

// podSpec is what a workload asks of a node. Each call returns a value of its own.
func (m *maker) podSpec(w *workload) corev1.PodSpec {
	spec := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: ptr.To(w.grace), SchedulerName: corev1.DefaultSchedulerName,
		Tolerations: []corev1.Toleration{
			{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](300)},
			{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](300)},
		},
		Containers: []corev1.Container{{Name: "main", Image: "registry.example.com/" + w.name + ":1.0", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{
				corev1.ResourceCPU: *resource.NewMilliQuantity(int64(w.cpu), resource.DecimalSI), corev1.ResourceMemory: memory(w.mem),
			},
		}}},
	}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": w.name}}
	if w.apart {
		spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: corev1.LabelHostname, LabelSelector: selector}},
		}}
	}
	if w.spread {
		spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: selector,
		}}
	}
	return spec
}

// makePod makes a pod that has been Ready for a day.
func (m *maker) makePod(w *workload, owner []metav1.OwnerReference, i int, on *host) {
	labels := map[string]string{"app": w.name}
	name := fmt.Sprintf("%s-%d", w.name, i)
	if !w.stateful {
		labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
		name = fmt.Sprintf("%s-%s-%05x", w.name, hash, i)
	}
	p := &corev1.Pod{ObjectMeta: m.meta(w.namespace, name, labels), Spec: m.podSpec(w)}
	p.OwnerReferences = []metav1.OwnerReference{*owner[0].DeepCopy()}
	if w.volumes {
		claim := fmt.Sprintf("data-%s-%d", w.name, i)
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}}}
		m.makeVolume(w.namespace, claim, on)
	}
	m.run(p, on, w.startup)
}

// run binds a pod and makes it Ready.
func (m *maker) run(p *corev1.Pod, on *host, startup time.Duration) {
	bound := p.CreationTimestamp.Add(time.Second)
	p.Spec.NodeName = on.Name
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, QOSClass: corev1.PodQOSBurstable, StartTime: ptr.To(metav1.NewTime(bound)),
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(bound)},
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(bound.Add(startup))},
		},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "main", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(bound.Add(startup / 2))}},
		}},
	}
	m.objects = append(m.objects, p)
}

// makeBudget makes a budget that lets a tenth of the pods go, one at the least, in
// one of the two ways in which that can be said.
func (m *maker) makeBudget(w *workload) {
	b := &policyv1.PodDisruptionBudget{ObjectMeta: m.meta(w.namespace, w.name, nil)}
	b.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": w.name}}
	allowed := (w.replicas + 9) / 10 // maxUnavailable is rounded up
	switch {
	case w.stateful:
		b.Spec.MaxUnavailable, allowed = ptr.To(intstr.FromInt32(1)), 1
	case w.replicas >= 20 && m.rand.IntN(2) == 0:
		b.Spec.MinAvailable = ptr.To(intstr.FromString("90%"))
		allowed = w.replicas - (w.replicas*9+9)/10 // so is minAvailable
	default:
		b.Spec.MaxUnavailable = ptr.To(intstr.FromString("10%"))
	}
	b.Status = policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: 1, ExpectedPods: int32(w.replicas), CurrentHealthy: int32(w.replicas), //nolint:gosec // far below
		DesiredHealthy: int32(w.replicas - allowed), DisruptionsAllowed: int32(allowed), //nolint:gosec // far below
	}
	m.objects = append(m.objects, b)
}

// makeVolume makes a claim with its volume, which is in the zone of a node and attached to it.
func (m *maker) makeVolume(namespace, claim string, on *host) {
	m.objects = append(m.objects, volumeOf(m, namespace, claim, on)...)
}
