// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// ReasonOutOfService is the reason of PodEvicted events of pods that were not asked
// for: the taint of their node has them deleted, past their budgets.
const ReasonOutOfService = event.ReasonOutOfService

// expels tells whether the node's taint will have the pod deleted.
func (n *nodeDrain) expels(p *podDrain) bool {
	return n.outOfService != nil && expels(n.outOfService, p.pod)
}

// expel waits for a pod to be deleted because its node is out of service. Nothing is
// asked of its budgets, which could only delay what happens in any case.
func (d *Drainer) expel(p *podDrain) {
	d.withdraw(p)
	p.stage, p.expelled = leaving, true
	d.unclear[p] = true
	d.watchOver(p)
}

// countDoomed counts the pods that the taint was quicker with than this drain with
// beginning.
func (d *Drainer) countDoomed(n *nodeDrain) {
	if n.outOfService == nil {
		return
	}
	for _, pod := range n.doomed {
		p := n.pods[pod.UID]
		switch {
		case p == nil:
			d.adopt(n, pod) // as it was
			if p = n.pods[pod.UID]; p.expelled {
				d.disappeared(p)
			}
		case p.pod.DeletionTimestamp != nil:
			d.expelledNow(p)
		}
	}
}

// serviceChanged takes in that a node that is being drained was declared out of
// service, or is back.
func (d *Drainer) serviceChanged(n *nodeDrain, node *corev1.Node) {
	n.outOfService = nil
	if cluster.OutOfService(node) {
		n.outOfService = node
	}
	expelled := 0
	for _, p := range n.inOrder() {
		switch expels := n.expels(p); {
		case expels && p.waits():
			d.expel(p)
			expelled++
		case !expels && p.expelled && p.stage == leaving && !p.departed():
			p.expelled = false
			d.place(p)
		}
	}
	if expelled > 0 {
		d.tell(event.Event{Type: event.Warning, Node: n.name, Reason: ReasonOutOfService, Message: fmt.Sprintf(
			"was declared out of service by somebody: %s that waited will be deleted because of that, past their budgets", phrase.Count(expelled, "pod"))})
	}
}

// expelledNow counts a pod as evicted that was deleted because its node is out of
// service, once.
func (d *Drainer) expelledNow(p *podDrain) {
	if !p.expelled || !p.evictedAt.IsZero() {
		return
	}
	p.evictedAt = d.clock.Now()
	d.tell(event.Event{Type: event.PodEvicted, Node: p.node.name, Pod: &p.name, Reason: ReasonOutOfService})
}
