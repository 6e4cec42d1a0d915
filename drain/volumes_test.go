// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
)

// withVolume makes a pod use a claim of the same name.
func withVolume(claim string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{
			Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}},
		})
	}
}

func claim(name, volume string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: volume},
	}
}

func attachment(name, volume, node string) *storagev1.VolumeAttachment {
	return &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       storagev1.VolumeAttachmentSpec{NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: ptr.To(volume)}},
	}
}

func TestWaitsForVolumesToDetach(t *testing.T) {
	ephemeral := func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{
			Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}},
		})
	}
	x := newWorld(t, node("n1"), node("n2"),
		claim("db", "pv-db"), claim("shared", "pv-shared"), claim("other", "pv-other"), claim("db-scratch", "pv-scratch"),
		attachment("a1", "pv-db", "n1"), attachment("a2", "pv-shared", "n1"), attachment("a3", "pv-other", "n2"), attachment("a4", "pv-scratch", "n1"),
		attachment("a5", "pv-of-nobody", "n1"),
		pod("db", "n1", withVolume("db"), withVolume("shared"), ephemeral), pod("mirror", "n1", mirror, withVolume("shared")))
	done := x.drain(t.Context(), x.drainer(), "n1")
	b := x.untilBlocked("shop/db", event.CauseVolume)
	if want := "still attached to the node: volume pv-db, pv-scratch"; b.Message != want {
		t.Errorf("%q, want %q", b.Message, want)
	}
	x.delete(attachmentsResource, "", "a1")
	x.step(retell)
	x.until("the other volume to be told", func() bool {
		last := x.events[len(x.events)-1]
		return last.Type == event.PodBlocked && last.Blocker.Message == "still attached to the node: volume pv-scratch"
	})
	x.delete(attachmentsResource, "", "a4")
	if got := x.wait(done); got.err != nil || got.Gone != 1 {
		t.Errorf("%+v", got)
	}
}

func TestVolumesThatMayNotBeRead(t *testing.T) {
	x := newWorld(t, node("n1"), claim("db", "pv-db"), attachment("a1", "pv-db", "n1"), pod("db", "n1", withVolume("db")))
	x.watches[attachmentsResource] = true // it will not be
	x.client.PrependReactor("list", "volumeattachments", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(attachmentsResource.GroupResource(), "", errors.New("no"))
	})
	got := x.wait(x.drain(t.Context(), x.drainer(), "n1"))
	if got.err != nil || x.count(event.Warning) != 1 {
		t.Errorf("%+v, told:\n%s", got, x.log())
	}
}
