// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
)

// volumeOf makes a claim with its volume, which can be used in one zone only.
func volumeOf(m *maker, namespace, claim string, on *host) []runtime.Object {
	name := "pvc-" + m.uid()
	pv := &corev1.PersistentVolume{ObjectMeta: m.meta("", name, nil)}
	pv.Spec = corev1.PersistentVolumeSpec{
		Capacity:    corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(10<<30, resource.BinarySI)},
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		ClaimRef:    &corev1.ObjectReference{Namespace: namespace, Name: claim},
		PersistentVolumeSource: corev1.PersistentVolumeSource{
			CSI: &corev1.CSIPersistentVolumeSource{Driver: "disk.csi.example.com", VolumeHandle: name},
		},
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{
				{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{zoneName(on.zone)}},
			},
		}}}},
	}
	pv.Status.Phase = corev1.VolumeBound
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: m.meta(namespace, claim, nil)}
	pvc.Spec.VolumeName, pvc.Status.Phase = name, corev1.ClaimBound
	attachment := &storagev1.VolumeAttachment{ObjectMeta: m.meta("", "csi-"+m.uid(), nil)}
	attachment.Spec = storagev1.VolumeAttachmentSpec{
		Attacher: "disk.csi.example.com", NodeName: on.Name, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: ptr.To(name)},
	}
	attachment.Status.Attached = true
	return []runtime.Object{pv, pvc, attachment}
}

// makeDaemonSets makes what every node runs, and the namespaces of everything.
func (m *maker) makeDaemonSets() {
	for i := range daemonSets {
		name := fmt.Sprintf("agent-%d", i)
		labels := map[string]string{"app": name}
		w := &workload{name: name, namespace: metav1.NamespaceSystem, grace: 30, cpu: daemonCPU, mem: daemonMem}
		spec := m.podSpec(w)
		spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
		nodes := int32(m.Nodes) //nolint:gosec // far below
		set := &appsv1.DaemonSet{ObjectMeta: m.meta(w.namespace, name, labels)}
		set.Spec = appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		}
		set.Status = appsv1.DaemonSetStatus{DesiredNumberScheduled: nodes, CurrentNumberScheduled: nodes, NumberReady: nodes, ObservedGeneration: 1}
		m.objects = append(m.objects, set)
		for n := range m.hosts {
			p := &corev1.Pod{ObjectMeta: m.meta(w.namespace, fmt.Sprintf("%s-%05d", name, n), map[string]string{"app": name}), Spec: *spec.DeepCopy()}
			p.OwnerReferences = controlledBy("DaemonSet", &set.ObjectMeta)
			m.run(p, &m.hosts[n], time.Second)
		}
	}
	seen := map[string]bool{}
	for _, obj := range m.objects {
		if o, ok := obj.(metav1.Object); ok && o.GetNamespace() != "" && !seen[o.GetNamespace()] {
			seen[o.GetNamespace()] = true
			m.objects = append(m.objects, &corev1.Namespace{ObjectMeta: m.meta("", o.GetNamespace(), map[string]string{corev1.LabelMetadataName: o.GetNamespace()})})
		}
	}
}
