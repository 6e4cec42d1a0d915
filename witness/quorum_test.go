// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
)

// newSet begins with a StatefulSet that has all its members, and no budget for them.
func newSet(t *testing.T, size int) *history {
	h := newHistory(t, unavailable(1))
	h.list("statefulsets", &appsv1.StatefulSet{ObjectMeta: h.meta("db", ""), Spec: appsv1.StatefulSetSpec{Replicas: ptr.To(int32(size))}})
	var members []metav1.Object
	for i := range size {
		members = append(members, h.member(i))
	}
	h.list("pods", members...)
	return h
}

// member is a pod of the set; one that is made again has another identity.
func (h *history) member(ordinal int, incarnation ...string) *corev1.Pod {
	p := h.pod(fmt.Sprintf("db-%d", ordinal))
	p.Labels = nil
	p.UID += types.UID(strings.Join(incarnation, ""))
	p.OwnerReferences[0].Kind, p.OwnerReferences[0].Name, p.OwnerReferences[0].UID = "StatefulSet", "db", "uid-of-db"
	return p
}

// again makes a member again that has ended, and returns it when it is ready.
func (h *history) again(ended *corev1.Pod, ordinal int) *corev1.Pod {
	h.add("pods", watch.Deleted, ended.DeepCopy())
	p := h.member(ordinal, "-again")
	setReady(p, false)
	h.add("pods", watch.Added, p)
	return h.modifyPod(p, func(p *corev1.Pod) { setReady(p, true) })
}

func TestQuorumKept(t *testing.T) {
	h := newSet(t, 3)
	for i := range 3 {
		h.again(h.evict(h.member(i), refit), i)
	}
	v := h.mustJudge()
	if v.Evictions != 3 || len(v.BrokenQuorums) != 0 || len(v.Lapses) != 0 || len(v.Faults()) != 0 {
		t.Errorf("%+v", v)
	}
}

// The second member is taken at every moment at which the first one is not back.
func TestQuorumBroken(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int
		away func(h *history, first *corev1.Pod)
		want int
	}{
		{"terminating", 3, func(*history, *corev1.Pod) {}, 1},
		{"gone", 3, func(h *history, first *corev1.Pod) { h.add("pods", watch.Deleted, first.DeepCopy()) }, 1},
		{"not ready yet", 3, func(h *history, first *corev1.Pod) {
			h.modifyPod(h.again(first, 0), func(p *corev1.Pod) { setReady(p, false) })
		}, 1},
		{"back", 3, func(h *history, first *corev1.Pod) { h.again(first, 0) }, 0},
		{"of two", 2, func(*history, *corev1.Pod) {}, 0},
		{"of nine", 9, func(*history, *corev1.Pod) {}, 1},
		{"of ten", 10, func(*history, *corev1.Pod) {}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newSet(t, tt.size)
			tt.away(h, h.evict(h.member(0), refit))
			h.evict(h.member(1), refit)
			v := h.mustJudge()
			if len(v.BrokenQuorums) != tt.want || len(v.Lapses) != tt.want || len(v.Faults()) != tt.want {
				t.Fatalf("breaches %+v, lapses %+v, faults %q", v.BrokenQuorums, v.Lapses, v.Faults())
			}
			if tt.want == 0 {
				return
			}
			b := v.BrokenQuorums[0]
			if b.Set != "shop/db" || b.Pod != "shop/db-1" || b.By != refit || b.How != Eviction || b.Healthy != tt.size-2 || b.Replicas != tt.size {
				t.Errorf("%+v", b)
			}
			if want := fmt.Sprintf("StatefulSet shop/db lost a second member: the eviction of pod shop/db-1 by refit left %d healthy members of %d", tt.size-2, tt.size); !slices.Contains(v.Faults(), want) {
				t.Errorf("faults %q", v.Faults())
			}
		})
	}
}

// What goes by itself, or by its controller, is told and blames nobody.
func TestLapse(t *testing.T) {
	h := newSet(t, 3)
	first := h.evict(h.member(0), refit)
	second := h.modifyPod(h.member(1), func(p *corev1.Pod) { setReady(p, false) })
	h.again(first, 0)
	h.evict(second, refit) // takes nothing away
	h.remove(h.member(2), "system:serviceaccount:kube-system:statefulset-controller")
	v := h.mustJudge()
	if len(v.BrokenQuorums) != 0 || len(v.Faults()) != 0 {
		t.Errorf("somebody is blamed: %+v, %q", v.BrokenQuorums, v.Faults())
	}
	if len(v.Lapses) != 2 || v.Lapses[0].Lowest != 1 || v.Lapses[0].Until.Sub(v.Lapses[0].Since) != 3*time.Second || !v.Lapses[1].Until.IsZero() {
		t.Errorf("%+v", v.Lapses)
	}
}

// How many members there are to be is what the set says at that moment.
func TestQuorumIsScaled(t *testing.T) {
	h := newSet(t, 3)
	scale := func(n int32) {
		s := h.ledgers["statefulsets"].initial[0].(*appsv1.StatefulSet).DeepCopy()
		s.Spec.Replicas = &n
		h.add("statefulsets", watch.Modified, s)
	}
	scale(2)
	h.again(h.evict(h.member(0), refit), 0)
	h.evict(h.member(1), refit)
	h.add("pods", watch.Deleted, h.end(h.member(2)).DeepCopy())
	h.log("delete", "", h.member(2), "system:serviceaccount:kube-system:statefulset-controller", 200)
	if v := h.mustJudge(); len(v.BrokenQuorums) != 0 || len(v.Lapses) != 0 {
		t.Errorf("%+v, %+v", v.BrokenQuorums, v.Lapses)
	}
	scale(5)
	scale(12)
	if v := h.mustJudge(); len(v.BrokenQuorums) != 0 || len(v.Lapses) != 1 || v.Lapses[0].Lowest != 1 || v.Lapses[0].Replicas != 5 || v.Lapses[0].Until.IsZero() {
		t.Errorf("%+v, %+v", v.BrokenQuorums, v.Lapses)
	}
}
