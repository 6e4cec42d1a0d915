// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

func checkNodes(c *checker) {
	for _, n := range c.s.Nodes {
		c.checkReady(n)
		c.checkCordon(n)
		c.checkTaint(n)
		c.checkService(n)
		c.checkPressure(n)
	}
}

func (c *checker) checkReady(n *cluster.Node) {
	ready := nodeCondition(n, corev1.NodeReady)
	if ready == nil || ready.Status == corev1.ConditionTrue {
		return
	}
	var stay []string
	for _, p := range n.Pods {
		if moves(p) {
			stay = append(stay, p.Namespace+"/"+p.Name)
		}
	}
	why := "is not Ready" + c.since(ready.LastTransitionTime) + because(ready.Reason, ready.Message)
	if len(stay) == 0 {
		c.add(NodeNotReadyEmpty, nodeObject(n), "%s", why)
		return
	}
	c.add(NodeNotReady, nodeObject(n), "%s; %s would have to leave it and cannot end: %s", why, phrase.Count(len(stay), "pod"), some(stay))
}

func (c *checker) checkCordon(n *cluster.Node) {
	if !n.Spec.Unschedulable {
		return
	}
	mark, marked := cluster.MarkOf(n.Node)
	if _, found := n.Annotations[cluster.CordonAnnotation]; found && !marked {
		c.add(NodeCordoned, nodeObject(n), "is cordoned, and the annotation %s that should say by whom cannot be read", cluster.CordonAnnotation)
		return
	}
	if !marked {
		c.add(NodeCordoned, nodeObject(n), "is cordoned, not by refit")
		return
	}
	by := "by " + mark.By()
	if mark.WasUnschedulable {
		by += ", and by somebody else before that"
	}
	c.add(NodeCordoned, nodeObject(n), "is cordoned%s %s", c.since(metav1.Time{Time: mark.Since}), by)
}

// checkTaint tells of the soft taint of a run: of one that is at work, or of one
// that was killed.
func (c *checker) checkTaint(n *cluster.Node) {
	if run := cluster.TaintedBy(n.Node); run != "" {
		c.add(NodeTainted, nodeObject(n), "has the soft taint %s of run %s: the scheduler prefers other nodes", cluster.TaintKey, run)
	}
}

// checkService tells of the taint that declares a machine to be off. Nobody takes it
// away by itself when the machine is back.
func (c *checker) checkService(n *cluster.Node) {
	if !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService }) {
		return
	}
	mark, marked := cluster.OutOfServiceMarkOf(n.Node)
	who, takesOff := "not by refit", ": kubectl taint nodes "+n.Name+" "+corev1.TaintNodeOutOfService+"-"
	if marked {
		who, takesOff = "by refit drain", ": refit uncordon "+n.Name
		if age := c.age(metav1.Time{Time: mark.Since}); age > 0 {
			who += ", " + duration.HumanDuration(age) + " ago"
		}
	}
	if cluster.Ready(n.Node) {
		c.add(NodeOutOfService, nodeObject(n), "is Ready, and still declared out of service (%s): nothing runs there that does not tolerate the taint %s", who, corev1.TaintNodeOutOfService)
		c.findings[len(c.findings)-1].Hint = "If the machine is well again, take the taint off" + takesOff
		return
	}
	c.add(NodeOutOfService, nodeObject(n), "is declared out of service (%s): its pods are removed, and nothing can run there before the taint %s is taken off", who, corev1.TaintNodeOutOfService)
	c.findings[len(c.findings)-1].Hint = "When it is Ready again, take the taint off" + takesOff
}

func (c *checker) checkPressure(n *cluster.Node) {
	var pressed []string
	for _, kind := range []corev1.NodeConditionType{
		corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeNetworkUnavailable,
	} {
		if condition := nodeCondition(n, kind); condition != nil && condition.Status == corev1.ConditionTrue {
			pressed = append(pressed, string(kind)+because(condition.Reason, condition.Message))
		}
	}
	if len(pressed) > 0 {
		c.add(NodePressure, nodeObject(n), "reports %s", strings.Join(pressed, ", "))
	}
}

func nodeCondition(n *cluster.Node, kind corev1.NodeConditionType) *corev1.NodeCondition {
	i := slices.IndexFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &n.Status.Conditions[i]
}

// age is how long before the snapshot t was; 0 if t is unknown or later.
func (c *checker) age(t metav1.Time) time.Duration {
	if t.IsZero() || c.s.Time.Before(t.Time) {
		return 0
	}
	return c.s.Time.Sub(t.Time)
}

// since says " for 5m", or nothing if that is not known.
func (c *checker) since(t metav1.Time) string {
	if age := c.age(t); age > 0 {
		return " for " + duration.HumanDuration(age)
	}
	return ""
}

// because says " (Reason: message)" of what there is.
func because(reason, message string) string {
	switch {
	case reason == "" && message == "":
		return ""
	case message == "":
		return " (" + reason + ")"
	case reason == "":
		return " (" + message + ")"
	}
	return fmt.Sprintf(" (%s: %s)", reason, message)
}
