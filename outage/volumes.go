// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"refit.dev/refit/cluster"
)

// unmountWait is how long the attach/detach controller waits for a kubelet to
// unmount a volume (ReconcilerMaxWaitForUnmountDuration in
// pkg/controller/volume/attachdetach/attach_detach_controller.go).
const unmountWait = 6 * time.Minute

// volumes says when the volumes of a pod come free that are attached to its node
// and cannot be attached to another one at the same time.
//
// The wait of 6 minutes does not begin with the deletion of the pod. It begins when
// nobody wants the volume on the node any more: while the object of a deleted pod
// is there and says that its containers run, its volumes stay wanted
// (DetermineVolumeAction in attachdetach/util, IsPodTerminated in pkg/volume/util),
// and a silent kubelet never says otherwise. Then, if the node is not Ready, they
// are detached by force, unless that is disabled. Of a node that is said to be out of service
// they are detached without waiting (reconcile in attachdetach/reconciler/reconciler.go).
func (l *loss) volumes(j *judged) []Volume {
	p := j.pod
	var list []Volume
	for _, v := range p.Volumes {
		if shared(v.PersistentVolume) || !slices.ContainsFunc(v.Attachments, attachedTo(p.Spec.NodeName)) {
			continue
		}
		x := Volume{Name: v.Name}
		if v.Spec.ClaimRef != nil {
			x.Claim = v.Spec.ClaimRef.Name
		}
		l.release(&x, j, v.PersistentVolume)
		list = append(list, x)
	}
	return list
}

func (l *loss) release(x *Volume, j *judged, v *corev1.PersistentVolume) {
	p, deleted := j.pod, j.when.at
	if deleted == nil {
		x.Reason = "stays attached, because the pod is not deleted"
		return
	}
	gone, _ := l.removed(j)
	if gone == nil {
		gone, _ = l.failedAt(j)
	}
	switch {
	case l.stays(x):
		return
	case gone == nil && !idle(&p.Status):
		x.Reason = "stays attached while the object of the pod is there, Terminating: the kubelet that could say that its containers ended is silent"
		return
	case deleted.At > l.returns:
		x.Detached, x.Reason = deleted, "is detached: its node is back by then"
		return
	case gone == nil:
		gone = deleted
	}
	at, how := gone.plus(0), "nothing has it mounted"
	switch {
	case saidOff(p.Host):
		how = "its node is said to be out of service"
	case !mounted(p, v):
	case l.p.KeepAttached.Value:
		x.Reason = fmt.Sprintf("stays attached: force detach is disabled (--%s)", flagKeepAttached)
		return
	default:
		unready := l.unreadyFrom(j.clock)
		if unready == nil {
			x.Reason = "stays attached, because its node counts as Ready"
			return
		}
		at, how = at.plus(unmountWait.Seconds()), fmt.Sprintf("by force, %s after nobody wants it there any more", span(unmountWait))
		if unready.At > at.At {
			at, how = unready.plus(0), "by force, as soon as its node is not Ready"
		}
	}
	if at.At >= l.returns {
		x.Reason = "stays attached until the node is back"
		return
	}
	x.Detached, x.Reason = &at, "is detached: "+how
}

// stays tells whether nobody detaches a volume, and says why.
func (l *loss) stays(x *Volume) bool {
	why, off := l.p.off(attachDetach)
	if off {
		x.Reason = "stays attached: " + why
	}
	return off
}

// attachedTo is for the attachments of a volume.
func attachedTo(node string) func(*storagev1.VolumeAttachment) bool {
	return func(a *storagev1.VolumeAttachment) bool { return a.Spec.NodeName == node }
}

// shared tells whether several nodes may have the volume (IsMultiAttachAllowed in
// pkg/volume/util/util.go).
func shared(v *corev1.PersistentVolume) bool {
	return len(v.Spec.AccessModes) == 0 || slices.Contains(v.Spec.AccessModes, corev1.ReadWriteMany) || slices.Contains(v.Spec.AccessModes, corev1.ReadOnlyMany)
}

// idle tells whether the status of a pod says that no container runs.
func idle(s *corev1.PodStatus) bool {
	runs := func(c corev1.ContainerStatus) bool { return c.State.Terminated == nil && c.State.Waiting == nil }
	return s.Phase == corev1.PodFailed || s.Phase == corev1.PodSucceeded ||
		!slices.ContainsFunc(s.InitContainerStatuses, runs) && !slices.ContainsFunc(s.ContainerStatuses, runs)
}

// mounted tells whether the kubelet last said that it uses the volume. What is not
// of a CSI driver goes by names that only its plugin knows, and counts as used.
func mounted(p *cluster.Pod, v *corev1.PersistentVolume) bool {
	csi := v.Spec.CSI
	if csi == nil {
		return true
	}
	name := corev1.UniqueVolumeName("kubernetes.io/csi/" + csi.Driver + "^" + csi.VolumeHandle)
	return slices.Contains(p.Host.Status.VolumesInUse, name)
}
