// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Around returns the node of that name with what a Snapshot would show of its
// pods and their controllers, without the price of a Snapshot; nil if there is
// no such node. Budgets and Volumes are left out, and the Pods of a controller
// are in no order and know neither their Host nor their Controllers.
func (w *Watcher) Around(node string) *Node {
	n := w.Node(node)
	if n == nil {
		return nil
	}
	host := &Node{Node: n}
	known := map[types.UID]*Workload{} // pods of one workload share it
	for _, p := range w.PodsOn(node) {
		pod := &Pod{Pod: p, Host: host}
		for _, c := range w.Controllers(p) {
			if known[c.UID] == nil {
				c.Pods = w.podsUnder(c.UID)
				known[c.UID] = c
			}
			pod.Controllers = append(pod.Controllers, known[c.UID])
		}
		for i, c := range pod.Controllers[:max(0, len(pod.Controllers)-1)] {
			c.Controller = pod.Controllers[i+1]
		}
		host.Pods = append(host.Pods, pod)
	}
	return host
}

// Tied returns the pod of that name with what a Snapshot would show of its host,
// its controllers and its volumes; nil if there is no such pod. It is for who
// follows the changes of a large cluster: whatever would take a look at
// other pods is left out, so that Host and Controllers have no Pods, and the pod
// no Budgets. Of the volumes Claim and Attachments are left out.
func (w *Watcher) Tied(namespace, name string) *Pod {
	p := w.Pod(namespace, name)
	if p == nil {
		return nil
	}
	pod := &Pod{Pod: p, Controllers: w.Controllers(p), Volumes: w.volumesOf(p)}
	if p.Spec.NodeName != "" {
		if node := w.Node(p.Spec.NodeName); node != nil {
			pod.Host = &Node{Node: node}
		}
	}
	return pod
}

// volumesOf returns the volumes that a pod uses, as claimIndex.of does.
func (w *Watcher) volumesOf(pod *corev1.Pod) []*Volume {
	var volumes []*Volume
	for _, name := range ClaimNames(pod) {
		if pv := w.volumeOf(pod.Namespace, name); pv != nil {
			volumes = append(volumes, &Volume{PersistentVolume: pv})
		}
	}
	return sortVolumes(volumes)
}

// volumeOf returns the volume that is bound to a claim, or nil. As in addVolumes
// either end is enough, unless the claim says otherwise.
func (w *Watcher) volumeOf(namespace, claim string) *corev1.PersistentVolume {
	if c := get[corev1.PersistentVolumeClaim](w, KindClaim, namespace, claim); c != nil {
		return w.Volume(c.Spec.VolumeName)
	}
	bound := indexed[corev1.PersistentVolume](w, KindVolume, indexClaim, namespace+"/"+claim, nil)
	if len(bound) == 0 {
		return nil
	}
	return bound[len(bound)-1]
}

// Volume returns the persistent volume of that name, or nil.
func (w *Watcher) Volume(name string) *corev1.PersistentVolume {
	return get[corev1.PersistentVolume](w, KindVolume, "", name)
}

// Controller returns the workload of that identity as it was read, without its
// Pods and without more of its own Controller than the reference; nil if it was not read.
func (w *Watcher) Controller(uid types.UID) *Workload { return w.workload(uid) }

// Workload returns the workload of that identity; nil if neither it nor a pod
// of it is known. Its Pods are as Around has them.
func (w *Watcher) Workload(uid types.UID) *Workload {
	found := w.workload(uid)
	pods := w.podsUnder(uid)
	if found == nil {
		if len(pods) == 0 {
			return nil
		}
		for _, c := range w.Controllers(pods[0].Pod) {
			if c.UID == uid {
				found = c
			}
		}
		if found == nil { // the pod changed hands in between
			return nil
		}
	}
	found.Pods = pods
	return found
}

// podsUnder returns the pods that a workload controls, directly or through others.
func (w *Watcher) podsUnder(uid types.UID) []*Pod {
	var pods []*Pod
	seen := map[types.UID]bool{}
	for below := []types.UID{uid}; len(below) > 0; {
		uid, below = below[0], below[1:]
		if seen[uid] {
			continue
		}
		seen[uid] = true
		objs, _ := w.store(KindPod).ByIndex(indexController, string(uid)) // the only error is an index that does not exist
		made := make([]Pod, len(objs))
		pods = slices.Grow(pods, len(objs))
		for i, obj := range objs {
			if p, ok := obj.(*corev1.Pod); ok {
				made[i].Pod = p
				pods = append(pods, &made[i])
			}
		}
		for _, x := range w.watched {
			if x.kind != KindWorkload {
				continue
			}
			objs, _ := x.informer.GetIndexer().ByIndex(indexController, string(uid))
			for _, obj := range objs {
				if m, ok := obj.(metav1.Object); ok {
					below = append(below, m.GetUID())
				}
			}
		}
	}
	return pods
}

// Concerned returns the identities of the workloads that a change of a pod or of
// a workload is about, also of one that is gone: itself, if it is a workload, and
// those that control it, the nearest first.
func (w *Watcher) Concerned(c Change) []types.UID {
	var concerned []types.UID
	if c.Kind == KindWorkload {
		concerned = append(concerned, c.UID)
	}
	if c.Owner == "" || c.Kind != KindPod && c.Kind != KindWorkload {
		return concerned
	}
	for _, above := range w.above(&Workload{UID: c.Owner}) {
		concerned = append(concerned, above.UID)
	}
	return concerned
}
