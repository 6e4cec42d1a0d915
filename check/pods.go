// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// overdue is how long after the end of its grace period a pod is called stuck.
const overdue = time.Minute

func checkPods(c *checker) {
	for _, p := range c.s.Pods {
		if !moves(p) {
			continue
		}
		if len(p.Controllers) == 0 {
			c.add(PodUnmanaged, podObject(p), "on %s has no controller that would replace it", p.Host.Name)
		}
		// A pod's deletionTimestamp is when its grace period ends, not when the deletion was asked for.
		if p.DeletionTimestamp != nil && c.age(*p.DeletionTimestamp) > overdue {
			c.add(PodTerminating, podObject(p), "on %s should have been gone%s%s", p.Host.Name, c.since(*p.DeletionTimestamp), whatHolds(p))
			if cluster.Lost(p.Host.Node) {
				c.findings[len(c.findings)-1].Hint = "Bring the node back. If its machine is off for certain: refit drain " + p.Host.Name +
					" --confirm-node-is-off, with which all of its pods are removed; as a last resort delete the pod with --grace-period=0 --force"
			}
		}
	}
	c.checkLocalData()
	c.checkFinalizers()
	c.checkStatic()
}

// whatHolds says what keeps a deleted pod, as far as it can be seen.
func whatHolds(p *cluster.Pod) string {
	var holds []string
	if len(p.Finalizers) > 0 {
		holds = append(holds, "finalizer "+strings.Join(p.Finalizers, ", "))
	}
	switch ready := nodeCondition(p.Host, corev1.NodeReady); {
	case cluster.Lost(p.Host.Node):
		holds = append(holds, "its node is lost: the kubelet does not answer")
	case ready != nil && ready.Status != corev1.ConditionTrue:
		holds = append(holds, "its node is not Ready")
	}
	if len(holds) == 0 {
		return ""
	}
	return ": " + strings.Join(holds, "; ")
}

func (c *checker) checkLocalData() {
	var found groups[cluster.Object]
	for _, p := range c.s.Pods {
		if moves(p) && len(emptyDirs(p)) > 0 {
			found.add(p.Owner(), p)
		}
	}
	for _, owner := range found.keys {
		pods := found.pods[owner]
		var volumes []string
		for _, p := range pods {
			volumes = append(volumes, emptyDirs(p)...)
		}
		slices.Sort(volumes)
		volumes = slices.Compact(volumes)
		c.add(PodLocalData, owner, "%s with data in emptyDir %s (%s): %s", phrase.Count(len(pods), "pod"),
			phrase.Plural(len(volumes), "volume", "volumes"), some(volumes), some(placesOf(pods)))
	}
}

func emptyDirs(p *cluster.Pod) []string {
	var names []string
	for i := range p.Spec.Volumes {
		if p.Spec.Volumes[i].EmptyDir != nil {
			names = append(names, p.Spec.Volumes[i].Name)
		}
	}
	return names
}

// placesOf lists pods as "name on node".
func placesOf(pods []*cluster.Pod) []string {
	places := make([]string, len(pods))
	for i, p := range pods {
		places[i] = p.Name + " on " + p.Host.Name
	}
	return places
}

func (c *checker) checkFinalizers() {
	type key struct {
		owner      cluster.Object
		finalizers string
	}
	var found groups[key]
	for _, p := range c.s.Pods {
		// The Job controller removes its own finalizer as soon as a pod has ended.
		finalizers := slices.DeleteFunc(slices.Clone(p.Finalizers), func(f string) bool { return f == batchv1.JobTrackingFinalizer })
		if moves(p) && p.DeletionTimestamp == nil && len(finalizers) > 0 {
			found.add(key{p.Owner(), strings.Join(finalizers, ", ")}, p)
		}
	}
	for _, k := range found.keys {
		pods := found.pods[k]
		c.add(PodFinalizer, k.owner, "%s with finalizer %s: %s", phrase.Count(len(pods), "pod"), k.finalizers, some(placesOf(pods)))
	}
}

func (c *checker) checkStatic() {
	for _, n := range c.s.Nodes {
		var names []string
		for _, p := range n.Pods {
			if p.Mirror() {
				names = append(names, p.Namespace+"/"+p.Name)
			}
		}
		if len(names) > 0 {
			c.add(PodStatic, nodeObject(n), "runs %s that %s with it: %s", phrase.Count(len(names), "static pod"),
				phrase.Plural(len(names), "stops", "stop"), some(names))
		}
	}
}
