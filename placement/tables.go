// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
)

// tables is what a Board and its clones share: everything that does not change
// when pods come and go. It grows, and Renew and Forget replace what they say.
type tables struct {
	ground
	taintLists
	extra resourceNames

	allocatable []Resources // without Extra

	snapshot  *cluster.Snapshot
	selectors selectors
	key       key
	looked    map[string]bool // keys of the labels that selectors look at
	coarse    bool
	classes   []*class               // by Class / 2
	pods      map[*cluster.Pod]Class // those of the snapshot, which are asked about again and again
	classOf   map[string]Class

	// What the parts of keys mean in nodes.
	selections, volumes, places map[string]nodeSet
	tolerances                  map[string]*tolerance

	tallies
}

func newTables(s *cluster.Snapshot, dense int) *tables {
	t := &tables{
		ground: newGround(s.Nodes), taintLists: newTaintLists(s.Nodes), snapshot: s,
		looked: map[string]bool{}, classOf: map[string]Class{},
		selections: map[string]nodeSet{}, volumes: map[string]nodeSet{}, places: map[string]nodeSet{}, tolerances: map[string]*tolerance{},
		tallies: newTallies(dense),
	}
	for _, n := range s.Nodes {
		t.allocatable = append(t.allocatable, allocatableOf(n))
	}
	for _, p := range s.Pods {
		t.lookAt(&p.Spec)
	}
	for _, w := range s.Workloads {
		if w.PodSpec != nil {
			t.lookAt(w.PodSpec) // pods to come
		}
	}
	return t
}

// looksFurther tells whether the selectors of a pod look at labels that are not
// looked at yet.
func (t *tables) looksFurther(spec *corev1.PodSpec) bool {
	looked := t.looked
	defer func() { t.looked = looked }()
	t.looked = maps.Clone(looked)
	t.lookAt(spec)
	return len(t.looked) > len(looked)
}

// lookAt notes the labels that the selectors of a pod look at.
func (t *tables) lookAt(spec *corev1.PodSpec) {
	for i := range spec.TopologySpreadConstraints {
		c := &spec.TopologySpreadConstraints[i]
		if c.WhenUnsatisfiable == corev1.DoNotSchedule {
			t.lookWith(c.LabelSelector)
			for _, key := range c.MatchLabelKeys {
				t.looked[key] = true
			}
		}
	}
	if a := spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			t.lookWithTerms(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		}
		if a.PodAntiAffinity != nil {
			t.lookWithTerms(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		}
	}
}

func (t *tables) lookWithTerms(terms []corev1.PodAffinityTerm) {
	for i := range terms {
		t.lookWith(terms[i].LabelSelector)
	}
}

func (t *tables) lookWith(s *metav1.LabelSelector) {
	if s == nil {
		return
	}
	for key := range s.MatchLabels {
		t.looked[key] = true
	}
	for i := range s.MatchExpressions {
		t.looked[s.MatchExpressions[i].Key] = true
	}
}
