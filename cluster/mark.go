// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// CordonAnnotation is the node annotation that holds a Mark, as JSON.
const CordonAnnotation = "refit.dev/cordon"

// Mark says who of refit cordoned a node, so that it is undone by nobody else.
type Mark struct {
	// Run is the id of the run that cordoned the node, DrainPrefix and more for a
	// plain drain; "" is `refit cordon` by hand. It is a value that a label could
	// have, as it is that of the taint with TaintKey, too.
	Run string `json:"run"`
	// Since is when.
	Since time.Time `json:"since"`
	// WasUnschedulable tells that the node was cordoned already, by somebody
	// else: it has to stay so when refit is done with it.
	WasUnschedulable bool `json:"wasUnschedulable"`
}

// DrainPrefix is what the Run of a Mark begins with that `refit drain` left: no
// journal belongs to it.
const DrainPrefix = "drain-"

// OfDrain tells whether `refit drain` left the mark, and not a run.
func (m Mark) OfDrain() bool { return strings.HasPrefix(m.Run, DrainPrefix) }

// By says who left the mark: refit cordon, refit drain, or run and its id.
func (m Mark) By() string {
	switch {
	case m.Run == "":
		return "refit cordon"
	case m.OfDrain():
		return "refit drain"
	}
	return "run " + m.Run
}

// MarkOf returns the mark on a node; false if there is none. An annotation that
// refit cannot have written counts as none: it is nobody's claim.
func MarkOf(node *corev1.Node) (Mark, bool) {
	text, found := node.Annotations[CordonAnnotation]
	if !found {
		return Mark{}, false
	}
	var mark Mark
	if err := json.Unmarshal([]byte(text), &mark); err != nil {
		return Mark{}, false
	}
	if len(validation.IsValidLabelValue(mark.Run)) > 0 { // it is shown, and in commands to copy
		return Mark{}, false
	}
	return mark, true
}

// Annotation returns the text of the annotation, in whole seconds and UTC.
func (m Mark) Annotation() string {
	m.Since = m.Since.UTC().Truncate(time.Second)
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // a string, a time and a bool always marshal
	}
	return string(text)
}

// TaintKey is the key of the soft taint on nodes that are still to be maintained.
// Its effect is PreferNoSchedule: the scheduler puts pods there only if they fit
// nowhere else, so that a pod that has moved need not move again. Its value is
// the run, so that it is undone by nobody else.
const TaintKey = "refit.dev/maintenance"

// TaintedBy returns the run whose soft taint the node has; "" if it has none.
func TaintedBy(node *corev1.Node) string {
	for i := range node.Spec.Taints {
		if t := &node.Spec.Taints[i]; t.Key == TaintKey && t.Effect == corev1.TaintEffectPreferNoSchedule {
			return t.Value
		}
	}
	return ""
}

// OutOfServiceAnnotation is the node annotation that holds an OutOfServiceMark, as JSON.
const OutOfServiceAnnotation = "refit.dev/out-of-service"

// OutOfServiceMark says who of refit tainted a node as out of service, so that
// refit takes off that taint and no other.
type OutOfServiceMark struct {
	// Run is the drain that did it.
	Run string `json:"run"`
	// Since is when.
	Since time.Time `json:"since"`
}

// OutOfServiceMarkOf returns the mark on a node that has the taint it speaks of; false
// if there is none, or none that refit can have written. The mark alone says nothing:
// kubectl taint takes the taint off and leaves the annotation where it is.
func OutOfServiceMarkOf(node *corev1.Node) (OutOfServiceMark, bool) {
	text, found := node.Annotations[OutOfServiceAnnotation]
	if !found {
		return OutOfServiceMark{}, false
	}
	var mark OutOfServiceMark
	if err := json.Unmarshal([]byte(text), &mark); err != nil {
		return OutOfServiceMark{}, false
	}
	if len(validation.IsValidLabelValue(mark.Run)) > 0 || !slices.ContainsFunc(node.Spec.Taints, mark.Set) {
		return OutOfServiceMark{}, false
	}
	return mark, true
}

// Taint is the one that goes with the mark. It tells the control plane that a machine is
// off for certain: pods that do not tolerate it are deleted (pkg/controller/tainteviction),
// what is terminating on the node is removed without its kubelet
// (pkg/controller/podgc), and volumes are detached at once
// (pkg/controller/volume/attachdetach). Key and value are those of KEP-2268,
// https://kep.k8s.io/2268.
func (m OutOfServiceMark) Taint() corev1.Taint {
	since := metav1.NewTime(m.Since.UTC().Truncate(time.Second))
	return corev1.Taint{Key: corev1.TaintNodeOutOfService, Value: "nodeshutdown", Effect: corev1.TaintEffectNoExecute, TimeAdded: &since}
}

// Set tells whether t is the taint that was set with the mark, by the time in it:
// others set one with the same key, value and effect, and kubectl taint writes no time.
func (m OutOfServiceMark) Set(t corev1.Taint) bool {
	own := m.Taint()
	return t.MatchTaint(&own) && t.Value == own.Value && t.TimeAdded.Equal(own.TimeAdded)
}

// Annotation returns the text of the annotation, in whole seconds and UTC.
func (m OutOfServiceMark) Annotation() string {
	m.Since = m.Since.UTC().Truncate(time.Second)
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // a string and a time always marshal
	}
	return string(text)
}
