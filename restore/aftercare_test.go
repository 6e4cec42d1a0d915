// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
)

func TestAftercare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(
			&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "alive"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "silent"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "without-lease"}},
			&storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "va"}, Spec: storagev1.VolumeAttachmentSpec{NodeName: "gone"}},
			&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.PodSpec{NodeName: "gone"}},
			&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "fine"}, Spec: corev1.PodSpec{NodeName: "alive"}},
		)
		begun := time.Now()
		lease := func(name string, renewed time.Time) coordinationv1.Lease {
			at := metav1.NewMicroTime(renewed)
			return coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: coordinationv1.LeaseSpec{RenewTime: &at}}
		}
		client.PrependReactor("list", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, &coordinationv1.LeaseList{Items: []coordinationv1.Lease{
				lease("alive", time.Now().Truncate(10*time.Second)), lease("silent", begun.Add(-time.Hour)),
			}}, nil
		})
		refused := 0 // an API server that was just started has not read all roles yet
		client.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
			refused++
			return refused <= 2, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", errors.New("no role"))
		})
		got, err := Aftercare(t.Context(), client, clock.RealClock{})
		if err != nil || len(got) != 4 {
			t.Fatalf("%q, %v", got, err)
		}
		for i, part := range []string{"node silent: ", "node without-lease: ", "volume attachment va is for node gone", "pod shop/web is bound to node gone"} {
			if !strings.Contains(got[i], part) {
				t.Errorf("%q: want %q", got[i], part)
			}
		}
		if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "alive") }) {
			t.Errorf("%q", got)
		}
	})
}
