// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
)

// spread is one topology spread constraint that must hold, with the pods counted.
type spread struct {
	key     string
	maxSkew int
	self    int            // 1 if the pod is one of those that are spread
	least   int            // in the emptiest domain
	counts  map[string]int // by value of key
}

// counted is what was counted for one pod, for the next one of the same
// controller: pods are asked about in the order of their names, so that one is enough.
type counted struct {
	controller *cluster.Workload
	spec       *corev1.PodSpec
	spreads    []counts
}

// counts are the pods of one constraint, the pod in question included.
type counts struct {
	selector labels.Selector
	eligible map[*cluster.Node]bool
	byValue  map[string]int // of the constraint's key
}

// findSpread looks at every constraint of the kind DoNotSchedule.
func (r *Room) findSpread(q *question) []spread {
	hard := hardSpread(q.pod)
	if len(hard) == 0 {
		return nil
	}
	spreads := make([]spread, 0, len(hard))
	for i, all := range r.counted(q, hard) {
		c := hard[i]
		s := spread{key: c.TopologyKey, maxSkew: int(c.MaxSkew), counts: all.byValue}
		if all.selector.Matches(labels.Set(q.pod.Labels)) {
			s.self = 1
		}
		if q.counted && all.counts(q.self) {
			s.counts = maps.Clone(all.byValue)
			s.counts[q.self.Host.Labels[c.TopologyKey]]--
		}
		first := true
		for _, n := range s.counts {
			if first || n < s.least {
				s.least, first = n, false
			}
		}
		if len(s.counts) < int(ptr.Deref(c.MinDomains, 1)) {
			s.least = 0
		}
		spreads = append(spreads, s)
	}
	return spreads
}

// hardSpread are the constraints of pod that must hold.
func hardSpread(pod *corev1.Pod) []*corev1.TopologySpreadConstraint {
	var hard []*corev1.TopologySpreadConstraint
	for i := range pod.Spec.TopologySpreadConstraints {
		if c := &pod.Spec.TopologySpreadConstraints[i]; c.WhenUnsatisfiable == corev1.DoNotSchedule {
			hard = append(hard, c)
		}
	}
	return hard
}

// counted returns the counts for each constraint. Pods of one controller mostly
// want the same, so that they are counted once; not if a constraint looks at
// labels of the pod itself.
func (r *Room) counted(q *question, hard []*corev1.TopologySpreadConstraint) []counts {
	shared := q.self != nil && len(q.self.Controllers) > 0 && !slices.ContainsFunc(hard, func(c *corev1.TopologySpreadConstraint) bool {
		return len(c.MatchLabelKeys) > 0
	})
	if !shared {
		return r.count(q, hard)
	}
	controller := q.self.Controllers[0]
	if r.last.controller != controller || !sameSpread(r.last.spec, &q.pod.Spec) {
		r.last = counted{controller, &q.pod.Spec, r.count(q, hard)}
	}
	return r.last.spreads
}

// sameSpread compares everything of two pods of a namespace that count reads.
func sameSpread(a, b *corev1.PodSpec) bool {
	nodeAffinity := func(s *corev1.PodSpec) *corev1.NodeAffinity {
		if s.Affinity == nil {
			return nil
		}
		return s.Affinity.NodeAffinity
	}
	return reflect.DeepEqual(a.TopologySpreadConstraints, b.TopologySpreadConstraints) && reflect.DeepEqual(a.Tolerations, b.Tolerations) &&
		reflect.DeepEqual(a.NodeSelector, b.NodeSelector) && reflect.DeepEqual(nodeAffinity(a), nodeAffinity(b))
}

// count counts as the scheduler does: over nodes that have all the constraints'
// keys and, unless the constraint says otherwise, match the pod's node affinity
// (a cordoned node is a domain too), without pods that are being deleted.
func (r *Room) count(q *question, hard []*corev1.TopologySpreadConstraint) []counts {
	all := make([]counts, 0, len(hard))
	for _, c := range hard {
		x := counts{selector: r.selectors.spread(q.pod, c), eligible: map[*cluster.Node]bool{}, byValue: map[string]int{}}
		for _, n := range r.s.Nodes {
			if r.countsFor(q, n, c, hard) {
				x.eligible[n] = true
				x.byValue[n.Labels[c.TopologyKey]] += 0
			}
		}
		for _, p := range r.pods[q.pod.Namespace] {
			if x.counts(p) {
				x.byValue[p.Host.Labels[c.TopologyKey]]++
			}
		}
		all = append(all, x)
	}
	return all
}

// counts tells whether p, of the right namespace, is among those counted. An
// empty selector counts nobody.
func (x *counts) counts(p *cluster.Pod) bool {
	return p != nil && p.DeletionTimestamp == nil && x.eligible[p.Host] && !x.selector.Empty() && x.selector.Matches(labels.Set(p.Labels))
}

// countsFor tells whether pods on node count for c.
func (r *Room) countsFor(q *question, node *cluster.Node, c *corev1.TopologySpreadConstraint, all []*corev1.TopologySpreadConstraint) bool {
	for _, x := range all {
		if !hasLabel(node, x.TopologyKey) {
			return false
		}
	}
	if ptr.Deref(c.NodeAffinityPolicy, corev1.NodeInclusionPolicyHonor) == corev1.NodeInclusionPolicyHonor {
		if ok, err := q.nodes.Match(node.Node); err != nil || !ok {
			return false
		}
	}
	if ptr.Deref(c.NodeTaintsPolicy, corev1.NodeInclusionPolicyIgnore) == corev1.NodeInclusionPolicyHonor && len(q.taints(node)) > 0 {
		return false
	}
	return true
}

// spread is the selector of one of pod's constraints, narrowed to the pod's own values of its matchLabelKeys.
func (c *selectors) spread(pod *corev1.Pod, constraint *corev1.TopologySpreadConstraint) labels.Selector {
	selector := c.get(constraint.LabelSelector)
	if len(constraint.MatchLabelKeys) == 0 {
		return selector
	}
	narrowed := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for _, key := range constraint.MatchLabelKeys {
		if value, ok := pod.Labels[key]; ok {
			narrowed.MatchLabels[key] = value
		}
	}
	more, err := metav1.LabelSelectorAsSelector(narrowed)
	if err != nil {
		return labels.Nothing()
	}
	requirements, _ := more.Requirements()
	return selector.Add(requirements...)
}

func (s *spread) against(node *cluster.Node) string {
	value, ok := node.Labels[s.key]
	if !ok {
		return "no label " + s.key + " to spread by"
	}
	if s.counts[value]+s.self-s.least > s.maxSkew {
		return "too many of its kind already in the same " + s.key
	}
	return ""
}
