// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
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

// findSpread counts the pods of every constraint of the kind DoNotSchedule, as
// the scheduler does: over nodes that have all the constraints' keys and, unless
// the constraint says otherwise, match the pod's node affinity (a cordoned node
// is a domain too), without pods that are being deleted.
func (r *Room) findSpread(q *question) []spread {
	var hard []*corev1.TopologySpreadConstraint
	for i := range q.pod.Spec.TopologySpreadConstraints {
		if c := &q.pod.Spec.TopologySpreadConstraints[i]; c.WhenUnsatisfiable == corev1.DoNotSchedule {
			hard = append(hard, c)
		}
	}
	spreads := make([]spread, 0, len(hard))
	for _, c := range hard {
		selector := r.spreadSelector(q.pod, c)
		s := spread{key: c.TopologyKey, maxSkew: int(c.MaxSkew), counts: map[string]int{}}
		if selector.Matches(labels.Set(q.pod.Labels)) {
			s.self = 1
		}
		eligible := map[*cluster.Node]bool{}
		for _, n := range r.s.Nodes {
			if r.countsFor(q, n, c, hard) {
				eligible[n] = true
				s.counts[n.Labels[c.TopologyKey]] += 0
			}
		}
		if !selector.Empty() { // an empty one counts nobody
			for _, p := range r.pods[q.pod.Namespace] {
				if p != q.self && p.DeletionTimestamp == nil && eligible[p.Host] && selector.Matches(labels.Set(p.Labels)) {
					s.counts[p.Host.Labels[c.TopologyKey]]++
				}
			}
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

// spreadSelector is the selector of c narrowed to the pod's own values of its matchLabelKeys.
func (r *Room) spreadSelector(pod *corev1.Pod, c *corev1.TopologySpreadConstraint) labels.Selector {
	selector := r.selectors.get(c.LabelSelector)
	if len(c.MatchLabelKeys) == 0 {
		return selector
	}
	narrowed := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for _, key := range c.MatchLabelKeys {
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
