// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/event"
)

// Selection says what a drain would do with the pods of a node.
type Selection struct {
	Node string
	// Leave are the pods to evict, in that order: pods with a critical priority last.
	Leave []*corev1.Pod
	// Skip are the pods that are not evicted, by rule.
	Skip []Skipped
	// Refused are the pods that may be neither evicted nor left without one more
	// flag. If there are any, the node is not drained at all.
	Refused []Refused
	// Warnings are what is lost with the pods that leave, one line for each kind of loss.
	Warnings []string
}

// Skipped is a pod that is not evicted, by rule. Reason is a word for programs, Message a
// sentence for people.
type Skipped struct {
	Pod             *corev1.Pod
	Reason, Message string
	// Removed: it is not evicted, and does not stay either. The taint that declares its
	// node out of service has it deleted.
	Removed bool
}

// Refused is a pod that needs one more flag, which Message names.
type Refused struct {
	Pod     *corev1.Pod
	Message string
}

// Err returns a *RefusedError if the node may not be drained, and nil otherwise.
func (s Selection) Err() error {
	if len(s.Refused) == 0 {
		return nil
	}
	return &RefusedError{Node: s.Node, Refused: s.Refused}
}

// RefusedError says that pods of a node may not be evicted under the options
// that were given. Unless Late, nothing was done to any pod of the node.
type RefusedError struct {
	Node    string
	Refused []Refused
	// Late: the pods appeared on the node while it was being drained.
	Late bool
}

// Error lists the pods by reason, as kubectl does.
func (e *RefusedError) Error() string {
	var groups []string
	for message, pods := range byMessage(e.Refused, func(r Refused) (string, *corev1.Pod) { return r.Message, r.Pod }) {
		groups = append(groups, fmt.Sprintf("cannot delete %s: %s", message, pods))
	}
	slices.Sort(groups)
	text := fmt.Sprintf("node %s: %s", e.Node, strings.Join(groups, "; "))
	if e.Late {
		text += " (on the node only since the drain began)"
	}
	return text
}

// selectPods applies the rules to the pods of a node at the time now. facts tells
// of each pod what cannot be seen in it.
func (o Options) selectPods(node string, pods []*corev1.Pod, now time.Time, facts func(*corev1.Pod) podFacts) Selection {
	s := Selection{Node: node}
	type warned struct {
		pod     *corev1.Pod
		warning string
	}
	var warnings []warned
	for _, pod := range pods {
		j := o.judge(pod, now, facts(pod))
		switch j.fate {
		case skip:
			s.Skip = append(s.Skip, Skipped{pod, j.reason, j.message, j.removed})
		case refuse:
			s.Refused = append(s.Refused, Refused{pod, j.message})
		case leave:
			s.Leave = append(s.Leave, pod)
			for _, w := range j.warnings {
				warnings = append(warnings, warned{pod, w})
			}
		}
	}
	for message, pods := range byMessage(warnings, func(w warned) (string, *corev1.Pod) { return w.warning, w.pod }) {
		s.Warnings = append(s.Warnings, message+": "+pods)
	}
	slices.Sort(s.Warnings)
	slices.SortStableFunc(s.Leave, func(a, b *corev1.Pod) int {
		return cmp.Or(compareBool(critical(a), critical(b)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return s
}

// byMessage groups the names of pods by message.
func byMessage[T any](items []T, of func(T) (string, *corev1.Pod)) map[string]string {
	names := map[string][]string{}
	for _, item := range items {
		message, pod := of(item)
		names[message] = append(names[message], nameOf(pod).String())
	}
	groups := make(map[string]string, len(names))
	for message, pods := range names {
		slices.Sort(pods)
		groups[message] = strings.Join(pods, ", ")
	}
	return groups
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// nameOf names a pod with its identity.
func nameOf(pod *corev1.Pod) event.Pod {
	return event.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)}
}
