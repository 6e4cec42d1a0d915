// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// WithNew returns the cluster as it would be with one more node like each of those that are
// named: new, Ready, not cordoned, without pods but those of DaemonSets. A name that is not known is
// left out. The nodes are called as NewName says. Everything else is shared with s.
func (s *Snapshot) WithNew(like []string) *Snapshot {
	c := *s
	c.Nodes, c.nodes, c.Pods = slices.Clone(s.Nodes), maps.Clone(s.nodes), slices.Clone(s.Pods)
	for _, name := range like {
		model := s.Node(name)
		if model == nil || c.nodes[NewName(name)] != nil {
			continue
		}
		node := model.DeepCopy()
		node.Name, node.UID = NewName(name), ""
		if node.Labels[corev1.LabelHostname] != "" {
			node.Labels[corev1.LabelHostname] = node.Name
		}
		node.Annotations = nil
		node.Spec.Unschedulable = false
		node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, func(t corev1.Taint) bool {
			return t.Key == TaintKey || strings.HasPrefix(t.Key, "node.kubernetes.io/")
		})
		for i := range node.Status.Conditions {
			if x := &node.Status.Conditions[i]; x.Type == corev1.NodeReady {
				x.Status = corev1.ConditionTrue
			}
		}
		fresh := &Node{Node: node}
		for _, p := range model.Pods {
			if len(p.Controllers) > 0 && p.Controllers[0].Kind == "DaemonSet" {
				daemon := *p
				daemon.Host = fresh
				fresh.Pods, c.Pods = append(fresh.Pods, &daemon), append(c.Pods, &daemon)
			}
		}
		c.Nodes, c.nodes[node.Name] = append(c.Nodes, fresh), fresh
	}
	slices.SortFunc(c.Nodes, func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
	return &c
}

// NewName is what a node is called that does not exist yet, and comes in the place of another. No
// node can have that name.
func NewName(old string) string { return old + " (new)" }
