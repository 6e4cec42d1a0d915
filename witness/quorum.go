// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A StatefulSet of so many replicas is taken for a group that needs its majority:
// with fewer none is left when one is away, and more never vote together.
const (
	smallestQuorum = 3
	largestQuorum  = 9
)

// QuorumBreach is a voluntary disruption that took a member out of a quorum set
// of which another one was away already.
type QuorumBreach struct {
	Time time.Time `json:"time"`
	Set  string    `json:"set"` // namespace/name of the StatefulSet
	Pod  string    `json:"pod"` // namespace/name
	By   string    `json:"by"`  // user
	How  How       `json:"how"`
	// Healthy is how many members were left, Replicas how many there should be.
	Healthy  int `json:"healthy"`
	Replicas int `json:"replicas"`
}

// Lapse is a time at which two or more members of a quorum set were away together.
type Lapse struct {
	Set      string    `json:"set"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"` // zero if it lasted to the end
	Lowest   int       `json:"lowest"`         // members that were left
	Replicas int       `json:"replicas"`       // as many as there should be, then
}

func (b *QuorumBreach) fault() string {
	return fmt.Sprintf("StatefulSet %s lost a second member: the %s of pod %s by %s left %d healthy members of %d",
		b.Set, b.How, b.Pod, b.By, b.Healthy, b.Replicas)
}

// set is a StatefulSet with the pods that it controls.
type set struct {
	*appsv1.StatefulSet
	pods map[types.UID]*corev1.Pod
}

func (s *set) quorum() bool {
	n := replicas(s.Spec.Replicas)
	return n >= smallestQuorum && n <= largestQuorum
}

func (s *set) healthy() int { return countHealthy(s.pods) }

// broken tells whether more than one member is away.
func (s *set) broken() bool {
	return s.quorum() && s.healthy() < int(replicas(s.Spec.Replicas))-1
}

// setOf returns the StatefulSet that controls a pod, or nil.
func (w *world) setOf(pod *corev1.Pod) *set {
	if owner := metav1.GetControllerOf(pod); owner != nil {
		return w.sets[owner.UID]
	}
	return nil
}

func (w *world) applySet(o *appsv1.StatefulSet, gone bool) {
	s := &set{o, map[types.UID]*corev1.Pod{}}
	if old := w.sets[o.UID]; old != nil {
		s.pods = old.pods
	} else {
		for uid, pod := range w.pods {
			if metav1.IsControlledBy(pod, o) {
				s.pods[uid] = pod
			}
		}
	}
	put(w.sets, o.UID, s, gone)
}

// loss is how a quorum set stands right after a disruption of a member.
type loss struct {
	set               string
	healthy, replicas int
	broken            bool
}

func (s *set) loss() loss {
	return loss{name(s), s.healthy(), int(replicas(s.Spec.Replicas)), s.broken()}
}

// touched are the sets that a change concerns: that of a pod, before it and after it, or itself.
func (r *replay) touched(c change, old *corev1.Pod) map[types.UID]bool {
	sets := map[types.UID]bool{}
	add := func(pod *corev1.Pod) {
		if s := r.world.setOf(pod); s != nil {
			sets[s.UID] = true
		}
	}
	switch o := c.object.(type) {
	case *corev1.Pod:
		add(o)
		if old != nil {
			add(old)
		}
	case *appsv1.StatefulSet:
		sets[o.UID] = true
	}
	return sets
}

// count opens or closes a lapse of a set; s is nil once the set is deleted.
func (r *replay) count(uid types.UID, at time.Time) {
	s, lapse := r.world.sets[uid], r.lapsing[uid]
	switch broken := s != nil && s.broken(); {
	case broken && lapse == nil:
		r.lapsing[uid] = &Lapse{Set: name(s), Since: at, Lowest: s.healthy(), Replicas: int(replicas(s.Spec.Replicas))}
	case broken:
		lapse.Lowest = min(lapse.Lowest, s.healthy())
	case lapse != nil:
		lapse.Until = at
		r.lapses = append(r.lapses, *lapse)
		delete(r.lapsing, uid)
	}
}

func (r *replay) endLapses() {
	for _, lapse := range r.lapsing {
		r.lapses = append(r.lapses, *lapse)
	}
	slices.SortFunc(r.lapses, func(a, b Lapse) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Set, b.Set)) })
}
