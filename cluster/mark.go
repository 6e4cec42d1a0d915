// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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

// OutOfServiceMarkOf returns the mark on a node; false if there is none, or none that
// refit can have written.
func OutOfServiceMarkOf(node *corev1.Node) (OutOfServiceMark, bool) {
	text, found := node.Annotations[OutOfServiceAnnotation]
	if !found {
		return OutOfServiceMark{}, false
	}
	var mark OutOfServiceMark
	if err := json.Unmarshal([]byte(text), &mark); err != nil {
		return OutOfServiceMark{}, false
	}
	if len(validation.IsValidLabelValue(mark.Run)) > 0 {
		return OutOfServiceMark{}, false
	}
	return mark, true
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
