// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// volumesOf returns the names of the persistent volumes that a pod uses.
func (d *Drainer) volumesOf(pod *corev1.Pod) []string {
	var volumes []string
	for _, v := range pod.Spec.Volumes {
		var claim string
		switch {
		case v.PersistentVolumeClaim != nil:
			claim = v.PersistentVolumeClaim.ClaimName
		case v.Ephemeral != nil:
			claim = pod.Name + "-" + v.Name // the documented name of a generic ephemeral volume's claim
		default:
			continue
		}
		if pv := d.watcher.ClaimVolume(pod.Namespace, claim); pv != "" {
			volumes = append(volumes, pv)
		}
	}
	return volumes
}

// detached tells whether no volume of the pods that left is attached to the node
// any more. Volumes that a pod which stays uses as well are not waited for.
func (d *Drainer) detached(n *nodeDrain) bool {
	used := map[string]*podDrain{}
	for _, p := range n.inOrder() {
		for _, v := range p.volumes {
			used[v] = p
		}
	}
	n.volumes = nil
	if len(used) == 0 {
		return true
	}
	if !d.watcher.Reads(cluster.KindAttachment) {
		if !d.blindVolumes {
			d.blindVolumes = true
			d.tell(event.Event{
				Type:    event.Warning,
				Message: "volume attachments may not be read: a drained node may still have volumes attached",
				Hint:    "allow this user get, list and watch of volumeattachments.storage.k8s.io",
			})
		}
		return true
	}
	for _, pod := range d.watcher.PodsOn(n.name) {
		for _, v := range d.volumesOf(pod) {
			delete(used, v)
		}
	}
	for _, a := range d.watcher.Attachments(n.name) {
		pv := a.Spec.Source.PersistentVolumeName
		if pv == nil || used[*pv] == nil {
			continue
		}
		if n.volumes == nil {
			n.volumes = map[string]*podDrain{}
		}
		n.volumes[*pv] = used[*pv]
		d.unclear[used[*pv]] = true
	}
	return len(n.volumes) == 0
}
