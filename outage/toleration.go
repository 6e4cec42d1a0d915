// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/toleration"
)

// patience is how long a pod tolerates the taints of its node.
type patience struct {
	seconds *int64 // nil: for ever
	// against: it does not tolerate one of them, so that it goes at once.
	against bool
	why     string
}

// patienceOf is how long a pod stays on its node with these taints, all of the effect
// NoExecute, by the rules of package toleration.
//
// Two kinds of pods are tolerant whatever their spec says here: the kubelet has static
// pods tolerate every taint (applyDefaults in pkg/kubelet/config/common.go), and the
// DaemonSet controller has its pods tolerate those of a node that is not healthy, but no other
// one, such as out-of-service (AddOrUpdateDaemonPodTolerations in pkg/controller/daemon/util).
func (g *ground) patienceOf(p *cluster.Pod, taints []corev1.Taint) patience {
	if p.Mirror() {
		return patience{why: "it is a static pod, which only its kubelet ends"}
	}
	forever := patience{why: "it tolerates the taint for ever"}
	if p.DaemonSet() {
		forever.why = "pods of DaemonSets tolerate the taint for ever"
		taints = slices.DeleteFunc(slices.Clone(taints), func(t corev1.Taint) bool { return ofHealth(&t) })
	}
	tolerations := g.withGiven(p.Spec.Tolerations)
	has, against := toleration.OfAll(tolerations, taints, g.wouldAdd)
	switch {
	case against != nil:
		return patience{has.Seconds, true, fmt.Sprintf("it does not tolerate the taint %s:NoExecute", against.Key)}
	case has.Seconds == nil:
		return forever
	}
	name := ""
	for i := range taints {
		if alone, _ := toleration.OfAll(tolerations, taints[i:i+1], g.wouldAdd); alone.Same(has) {
			if !ofHealth(&taints[i]) {
				name = " " + taints[i].Key + ":NoExecute, which its node has already,"
			}
			break
		}
	}
	return patience{has.Seconds, false, fmt.Sprintf("it tolerates the taint%s for %s", name, has)}
}

// wouldAdd is how many seconds the API server would give to pods that say nothing of a
// taint, with the default that was given; nil if it gives, or would give, nothing.
func (g *ground) wouldAdd(taint string) *int64 {
	given, _, known := g.defaultOf(taint)
	if g.p.inForce != nil || !known || given <= 0 {
		return nil
	}
	return ptr.To(int64(given / time.Second))
}

// defaultOf is the default for one of the two taints that have one: that which was given,
// and that which is in force.
func (g *ground) defaultOf(taint string) (given, force time.Duration, known bool) {
	var x inForce
	if g.p.inForce != nil {
		x = *g.p.inForce
	}
	switch taint {
	case corev1.TaintNodeNotReady:
		return g.p.NotReady.Value, x.notReady, true
	case corev1.TaintNodeUnreachable:
		return g.p.Unreachable.Value, x.unreachable, true
	}
	return 0, 0, false
}

// withGiven is what tolerations say, or would say if the defaults in force were those that
// were given: whoever said nothing has exactly what admission adds.
func (g *ground) withGiven(tolerations []corev1.Toleration) []corev1.Toleration {
	changed := false
	for i := range tolerations {
		t := &tolerations[i]
		given, force, known := g.defaultOf(t.Key)
		added := known && t.Operator == corev1.TolerationOpExists && t.Effect == corev1.TaintEffectNoExecute
		if g.p.inForce == nil || !added || given == force || t.TolerationSeconds == nil || *t.TolerationSeconds != int64(force/time.Second) {
			continue
		}
		if !changed {
			tolerations, changed = slices.Clone(tolerations), true
		}
		tolerations[i].TolerationSeconds = ptr.To(int64(given / time.Second))
	}
	return tolerations
}
