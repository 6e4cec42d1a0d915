// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reality

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/twin/simulated"
)

// node is a node with the times that it was away.
type node struct {
	losses  []*loss
	settled bool // it is Ready, and has no taint that says otherwise
}

// loss is one time that a node was away.
type loss struct {
	since time.Time
	from  revision
	// until is when its kubelet ran again, or somebody said that the node is out
	// of service: when the pods are let go; 0: not yet. back is the former.
	until, back revision
	// unreachable and tainted are when the control plane noticed, and when it set
	// the taint from which tolerations count; zero: not seen. A taint does not count
	// that was taken away again while the node was away.
	unreachable, tainted time.Time
	returned             time.Time // when its kubelet ran again
}

func (h *History) seeNode(o *corev1.Node) {
	at := revisionOf(o)
	n := h.nodes[o.Name]
	if n == nil {
		n = &node{}
		h.nodes[o.Name] = n
	}
	running := o.Labels[simulated.KubeletLabel] == simulated.KubeletRunning
	if !running && (len(n.losses) == 0 || n.last().back > 0) {
		n.losses = append(n.losses, &loss{since: managedSince(o, simulated.KubeletLabel), from: at})
	}
	n.settled = running
	l := n.last()
	if l != nil && running && l.back == 0 {
		l.back, l.returned = at, managedSince(o, simulated.KubeletLabel)
		if l.until == 0 {
			l.until = at
		}
	}
	if l != nil && l.back == 0 && !slices.ContainsFunc(o.Spec.Taints, evicting) {
		l.tainted = time.Time{}
	}
	for _, t := range o.Spec.Taints {
		switch {
		case t.Key == corev1.TaintNodeOutOfService:
			if l != nil && l.until == 0 {
				l.until = at
			}
		case t.Key != corev1.TaintNodeUnreachable && t.Key != corev1.TaintNodeNotReady:
		case evicting(t) && l != nil && l.back == 0 && l.tainted.IsZero():
			l.tainted = t.TimeAdded.Time
			fallthrough
		default:
			n.settled = false
		}
	}
	for _, c := range o.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		n.settled = n.settled && c.Status == corev1.ConditionTrue
		if c.Status == corev1.ConditionUnknown && l != nil && l.back == 0 && l.unreachable.IsZero() {
			l.unreachable = c.LastTransitionTime.Time
		}
	}
}

// evicting says whether a taint is one that has the pods of a lost node deleted.
func evicting(t corev1.Taint) bool {
	return (t.Key == corev1.TaintNodeUnreachable || t.Key == corev1.TaintNodeNotReady) && t.Effect == corev1.TaintEffectNoExecute && t.TimeAdded != nil
}

// last is the present or the latest loss; nil if there was none.
func (n *node) last() *loss {
	if n == nil || len(n.losses) == 0 {
		return nil
	}
	return n.losses[len(n.losses)-1]
}

// managedSince is when a label was last written, by the server's clock.
func managedSince(o *corev1.Node, label string) time.Time {
	var since time.Time
	for _, m := range o.ManagedFields {
		if m.Time != nil && m.FieldsV1 != nil && strings.Contains(m.FieldsV1.GetRawString(), `"f:`+label+`"`) && m.Time.After(since) {
			since = m.Time.Time
		}
	}
	return since
}

// Unreachable says whether the control plane has noticed that the node is away.
func (h *History) Unreachable(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.nodes[name].last()
	return l != nil && l.back == 0 && !l.unreachable.IsZero()
}

// Tainted is when the node got the taint of a lost node that it has, or had, in its
// present loss; zero if it got none.
func (h *History) Tainted(name string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.nodes[name].last()
	if l == nil || l.back > 0 {
		return time.Time{}
	}
	return l.tainted
}
