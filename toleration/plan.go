// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package toleration

import (
	"cmp"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// Change is what setting the eviction timeout means for one workload.
type Change struct {
	*Target
	// Seconds is what both taints are to be tolerated for.
	Seconds int64
	// Before says what was so far: "30s", "for ever", "the default (5m)". NotReady and
	// Unreachable are the same for each of the Taints.
	Before                string
	NotReady, Unreachable Patience
	// Refused is why it cannot be done; then nothing else is set.
	Refused string
	// Unchanged: it is so already.
	Unchanged bool
	// Effect is what happens to its pods.
	Effect string
	// Warnings are why it may not last.
	Warnings []string
}

// Plan says what it means to have the targets tolerate a lost node for so many
// seconds, in their order. defaults are those in force. Nothing is touched.
func Plan(targets []*Target, seconds int64, defaults [2]Default) []Change {
	changes := make([]Change, 0, len(targets))
	for _, t := range targets {
		c := Change{Target: t, Seconds: seconds, Refused: refusal(t)}
		if c.Refused == "" {
			c.NotReady = Of(t.Tolerations, defaults[0].Taint, defaults[0].Seconds)
			c.Unreachable = Of(t.Tolerations, defaults[1].Taint, defaults[1].Seconds)
			c.Before, c.Unchanged = before(times{c.NotReady, c.Unreachable}, seconds, defaults)
			c.Effect, c.Warnings = effect(t), others(t)
		}
		changes = append(changes, c)
	}
	return changes
}

// before puts into words what a template has for both taints, and tells whether that is
// what is wanted.
func before(has times, seconds int64, defaults [2]Default) (text string, same bool) {
	same = true
	var parts [2]string
	for i, p := range has {
		same = same && p.Source != SourceDefault && p.Seconds != nil && *p.Seconds == seconds
		parts[i] = p.String()
		if p.Source == SourceDefault {
			parts[i] = "the default (" + p.String() + ")"
			if defaults[i].Assumed {
				parts[i] = "the default (" + p.String() + ", assumed)"
			}
		}
	}
	if parts[0] == parts[1] {
		return parts[0], same
	}
	return fmt.Sprintf("not-ready %s, unreachable %s", parts[0], parts[1]), same
}

// refusal says why the template of t cannot be changed, or why that would be in vain.
func refusal(t *Target) string {
	made := madeBy(t)
	pod, isPod := t.object.(*corev1.Pod)
	switch {
	case t.DeletionTimestamp != nil:
		return "it is being deleted"
	case t.Kind == "DaemonSet":
		// AddOrUpdateDaemonPodTolerations in pkg/controller/daemon/util/daemonset_util.go
		return "the pods of a DaemonSet stay on a lost node for ever: its controller gives them that, whatever the template says"
	case t.Kind == "Job" && made != nil:
		return fmt.Sprintf("the pod template of a Job cannot be changed; %s %s/%s makes its Jobs: name that one", made.Kind, t.Namespace, made.Name)
	case t.Kind == "Job":
		return "the pod template of a Job cannot be changed: make the Job anew"
	case isPod && (&cluster.Pod{Pod: pod}).Mirror():
		return "it is a static pod: its manifest on node " + pod.Spec.NodeName + " decides"
	case made != nil:
		return fmt.Sprintf("%s %s/%s made it: name that one", made.Kind, t.Namespace, made.Name)
	}
	return ""
}

// effect says how what is new in the template of t reaches its pods.
func effect(t *Target) string {
	pods := phrase.Plural(int(t.replicas), "its pod", fmt.Sprintf("its %d pods", t.replicas))
	switch o := t.object.(type) {
	case *corev1.Pod:
		return "holds at once, without a restart" // validateOnlyAddedTolerations in pkg/apis/core/validation
	case *appsv1.ReplicaSet, *corev1.ReplicationController:
		return pods + phrase.Plural(int(t.replicas), " keeps what it has", " keep what they have") + ": only pods made from now on get it"
	case *appsv1.Deployment:
		return ofDeployment(o, pods)
	case *appsv1.StatefulSet:
		return ofStatefulSet(o, pods)
	}
	return "Jobs made from now on get it"
}

func ofDeployment(d *appsv1.Deployment, pods string) string {
	r := cluster.RolloutOf(d)
	text := fmt.Sprintf("rolls out %s, at most %d away and %d more than wanted at a time", pods, r.MaxUnavailable, r.MaxSurge)
	switch {
	case ptr.Deref(d.Spec.Replicas, 1) == 0:
		return "it has no pods now"
	case r.Recreate:
		text = fmt.Sprintf("ends %s before the first new one starts", pods)
	}
	if r.Paused {
		return "once it is resumed (it is paused) it " + text
	}
	return text
}

func ofStatefulSet(s *appsv1.StatefulSet, pods string) string {
	if ptr.Deref(s.Spec.Replicas, 1) == 0 {
		return "it has no pods now"
	}
	if s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return "does not roll out by itself (OnDelete): " + pods + phrase.Plural(int(ptr.Deref(s.Spec.Replicas, 1)), " keeps what it has until it is deleted", " keep what they have until they are deleted")
	}
	text := "rolls out " + pods
	rolling := cmp.Or(s.Spec.UpdateStrategy.RollingUpdate, &appsv1.RollingUpdateStatefulSetStrategy{})
	if from := ptr.Deref(rolling.Partition, 0); from > 0 {
		text = fmt.Sprintf("rolls out those of %s from number %d on (partition; the others keep what they have)", pods, from)
	}
	if most := ptr.Deref(rolling.MaxUnavailable, intstr.FromInt32(1)); most.String() != "1" {
		return text + ", at most " + most.String() + " at a time"
	}
	return text + ", one at a time, the last first"
}

// others warns of who may put back what is changed.
func others(t *Target) []string {
	var who []string
	add := func(format string, args ...any) { who = append(who, fmt.Sprintf(format, args...)) }
	if ref := metav1.GetControllerOfNoCopy(t); ref != nil {
		add("%s %s", ref.Kind, ref.Name)
	}
	l, a := t.Labels, t.Annotations
	switch {
	case l["helm.toolkit.fluxcd.io/name"] != "":
		add("the Flux HelmRelease %s", l["helm.toolkit.fluxcd.io/name"])
	case l["kustomize.toolkit.fluxcd.io/name"] != "":
		add("the Flux Kustomization %s", l["kustomize.toolkit.fluxcd.io/name"])
	case a["argocd.argoproj.io/tracking-id"] != "", l["argocd.argoproj.io/instance"] != "":
		add("Argo CD (application %s)", cmp.Or(l["argocd.argoproj.io/instance"], a["argocd.argoproj.io/tracking-id"]))
	case l["app.kubernetes.io/managed-by"] == "Helm":
		add("the next upgrade of Helm release %s", cmp.Or(a["meta.helm.sh/release-name"], l["app.kubernetes.io/instance"], "unknown"))
	}
	var warnings []string
	for _, w := range who {
		warnings = append(warnings, w+" may put it back: change it there, too")
	}
	for _, manager := range appliers(t) {
		warnings = append(warnings, fmt.Sprintf("server-side apply by %q has set its tolerations: its next apply fails with a conflict, or puts them back if it is forced; change it there, too", manager))
	}
	return warnings
}
