// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
)

// claimIndex finds the volume that is bound to a claim.
type claimIndex map[types.NamespacedName]*Volume

// of returns the volumes that pod uses, sorted by name.
func (c claimIndex) of(pod *corev1.Pod) []*Volume {
	if len(pod.Spec.Volumes) == 0 {
		return nil
	}
	var volumes []*Volume
	for _, name := range ClaimNames(pod) {
		if v := c[types.NamespacedName{Namespace: pod.Namespace, Name: name}]; v != nil {
			volumes = append(volumes, v)
		}
	}
	return sortVolumes(volumes)
}

// sortVolumes puts the volumes of a pod in order, each once.
func sortVolumes(volumes []*Volume) []*Volume {
	slices.SortFunc(volumes, func(a, b *Volume) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(volumes, func(a, b *Volume) bool { return a.Name == b.Name })
}

// addVolumes adds the persistent volumes with their claims and attachments. A
// claim and its volume name each other; either end is enough here, so that one
// kind that may not be read does not hide the other.
func addVolumes(s *Snapshot, o *objects) claimIndex {
	byName := make(map[string]*Volume, len(o.volumes))
	index := claimIndex{}
	for _, pv := range o.volumes {
		v := &Volume{PersistentVolume: pv}
		s.Volumes = append(s.Volumes, v)
		byName[pv.Name] = v
		if ref := pv.Spec.ClaimRef; ref != nil {
			index[types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}] = v
		}
	}
	slices.SortFunc(s.Volumes, func(a, b *Volume) int { return cmp.Compare(a.Name, b.Name) })
	for _, claim := range o.claims {
		key := types.NamespacedName{Namespace: claim.Namespace, Name: claim.Name}
		v := byName[claim.Spec.VolumeName]
		if v == nil {
			// A volume that still names a claim that is no longer bound to it is not the claim's.
			delete(index, key)
			continue
		}
		v.Claim = claim
		index[key] = v
	}
	for _, a := range o.attachments {
		if name := a.Spec.Source.PersistentVolumeName; name != nil && byName[*name] != nil {
			v := byName[*name]
			v.Attachments = append(v.Attachments, a)
		}
	}
	for _, v := range s.Volumes {
		slices.SortFunc(v.Attachments, func(a, b *storagev1.VolumeAttachment) int {
			return cmp.Or(cmp.Compare(a.Spec.NodeName, b.Spec.NodeName), cmp.Compare(a.Name, b.Name))
		})
	}
	return index
}
