// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
)

// whyLost says why the drain of a node, of which leave pods have to go, would not end:
// its kubelet does not answer. It is "" if that is not so, and for a node that holds
// nothing: a command may be what brings it back.
func (s *Spec) whyLost(node *corev1.Node, leave int) string {
	options, err := s.Drain.options(s.Run, nil)
	if err != nil {
		return "" // every Spec was checked when it was made or read: validate
	}
	if err := options.Impasse(node, leave); err != nil {
		return strings.TrimPrefix(err.Error(), "node "+node.Name+" ")
	}
	return ""
}

// refuseLost takes down what whyLost says of a node of the run. It tells whether that
// is anything.
func (p *Prepared) refuseLost(node *corev1.Node, leave int) bool {
	why := p.Spec.whyLost(node, leave)
	if why == "" {
		return false
	}
	p.refused = append(p.refused, cluster.Finding{
		Severity: cluster.Blocker, Code: NodeLost, Object: cluster.Object{Kind: "Node", Name: node.Name}, Message: why, Hint: wayOutOfLoss(node.Name),
	})
	return true
}

func wayOutOfLoss(node string) string {
	return fmt.Sprintf("bring it back; or, if its machine is off for certain, begin with refit drain %s --confirm-node-is-off, "+
		"which has its pods made anew elsewhere; refit outage %s tells what happens to them otherwise", node, node)
}

// lostError is the error of a run with nodes that refuseLost has refused.
func (p *Prepared) lostError(nodes []string) error {
	var lines []string
	for _, f := range p.refused {
		if f.Code == NodeLost && len(lines) < mostStops {
			lines = append(lines, "node "+f.Object.Name+" "+f.Message)
		}
	}
	if more := len(nodes) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more nodes", more))
	}
	return hint.Wrap(&BlockedError{errors.New(strings.Join(lines, "\n"))}, "%s%s; nothing was changed",
		wayOutOfLoss(nodes[0]), leaveOut(nodes, p.Spec, p.Total))
}
