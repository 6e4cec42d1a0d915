// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
	corehelpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// question is a pod with everything about it that is the same for every node.
type question struct {
	room     *Room
	pod      *corev1.Pod
	self     *cluster.Pod // the pod in the snapshot; nil if it is not there
	counted  bool         // self runs somewhere, so that it is among the pods counted
	requests corev1.ResourceList
	nodes    nodeaffinity.RequiredNodeAffinity
	together together
	apart    apart
	spread   []spread
}

func (r *Room) ask(pod *corev1.Pod) *question {
	q := &question{
		room:     r,
		pod:      pod,
		self:     r.s.PodByUID(pod.UID),
		requests: resource.PodRequests(pod, resource.PodResourcesOptions{}),
		nodes:    nodeaffinity.GetRequiredNodeAffinity(pod),
	}
	if q.self != nil && (q.self.Namespace != pod.Namespace || q.self.Name != pod.Name) {
		q.self = nil // two pods without a UID
	}
	q.counted = q.self != nil && q.self.Host != nil && !budget.Finished(q.self.Pod)
	q.together = r.findTogether(q)
	q.apart = r.findApart(q)
	q.spread = r.findSpread(q)
	return q
}

// fits lists what speaks against node.
func (q *question) fits(node *cluster.Node) []string {
	var reasons []string
	add := func(reason string) {
		if reason != "" {
			reasons = append(reasons, reason)
		}
	}
	add(q.pinned(node))
	for _, reason := range q.taints(node) {
		add(reason)
	}
	if ok, err := q.nodes.Match(node.Node); err != nil {
		add("node affinity that cannot be read")
	} else if !ok {
		add("not matched by node selector or node affinity")
	}
	for _, reason := range q.resources(node) {
		add(reason)
	}
	add(q.ports(node))
	add(q.volumes(node))
	add(q.together.against(node))
	add(q.apart.against(node))
	for i := range q.spread {
		add(q.spread[i].against(node))
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// pinned looks at a node name in the template of the pod's controller.
func (q *question) pinned(node *cluster.Node) string {
	if name := pinnedTo(q.self); name != "" && name != node.Name {
		return fmt.Sprintf("not %s, which the pod's template names", name)
	}
	return ""
}

// pinnedTo is the node that the template of the pod's controller names, or "".
// The pod's own node name is where the scheduler put it.
func pinnedTo(pod *cluster.Pod) string {
	if pod == nil || len(pod.Controllers) == 0 || pod.Controllers[0].PodSpec == nil {
		return ""
	}
	return pod.Controllers[0].PodSpec.NodeName
}

// taints looks for taints that the pod does not tolerate.
func (q *question) taints(node *cluster.Node) []string {
	var reasons []string
	taints := taintsOf(node)
	for i := range taints {
		t := &taints[i]
		if t.Effect == corev1.TaintEffectPreferNoSchedule || corehelpers.TolerationsTolerateTaint(klog.Logger{}, q.pod.Spec.Tolerations, t, true) {
			continue
		}
		switch t.Key {
		case corev1.TaintNodeUnschedulable:
			reasons = append(reasons, "cordoned")
		case corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable:
			reasons = append(reasons, "not ready")
		default:
			reasons = append(reasons, "taint "+t.ToString()+" that the pod does not tolerate")
		}
	}
	return reasons
}

// taintsOf are the taints of the node, and those that the node controller is
// about to set if it has not yet: for a cordon and for a node that is not Ready.
func taintsOf(node *cluster.Node) []corev1.Taint {
	taints := slices.Clone(node.Spec.Taints)
	imply := func(key string) {
		if !slices.ContainsFunc(taints, func(t corev1.Taint) bool { return t.Key == key }) {
			taints = append(taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule})
		}
	}
	if node.Spec.Unschedulable {
		imply(corev1.TaintNodeUnschedulable)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			if !slices.ContainsFunc(taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeUnreachable }) {
				imply(corev1.TaintNodeNotReady)
			}
		}
	}
	return taints
}

// resources compares what the pod requests with what is left. A node that does
// not tell what it has is not judged.
func (q *question) resources(node *cluster.Node) []string {
	allocatable := node.Status.Allocatable
	if len(allocatable) == 0 {
		return nil
	}
	here := q.counted && q.self.Host.Name == node.Name
	var reasons []string
	if limit, ok := allocatable[corev1.ResourcePods]; ok {
		count := q.room.counts[node.Name]
		if here {
			count--
		}
		if count+1 > limit.Value() {
			reasons = append(reasons, "no room for one more pod")
		}
	}
	for name, want := range q.requests {
		if want.IsZero() || name == corev1.ResourcePods {
			continue
		}
		free := allocatable[name].DeepCopy()
		if used, ok := q.room.used[node.Name][name]; ok {
			free.Sub(used)
		}
		if here {
			if own, ok := q.room.requests[q.self.UID][name]; ok {
				free.Add(own)
			}
		}
		if free.Cmp(want) < 0 {
			reasons = append(reasons, fmt.Sprintf("not enough %s left for the %s it requests", name, want.String()))
		}
	}
	return reasons
}

// ports looks for a pod there that has one of the host ports.
func (q *question) ports(node *cluster.Node) string {
	wanted := hostPorts(q.pod)
	if len(wanted) == 0 {
		return ""
	}
	for _, p := range node.Pods {
		if p == q.self || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, taken := range hostPorts(p.Pod) {
			for _, want := range wanted {
				if want.clashes(taken) {
					return fmt.Sprintf("host port %d taken", want.port)
				}
			}
		}
	}
	return ""
}

type hostPort struct {
	ip       string
	protocol corev1.Protocol
	port     int32
}

// clashes: an unspecified address is every address.
func (h hostPort) clashes(o hostPort) bool {
	anyIP := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	return h.port == o.port && h.protocol == o.protocol && (h.ip == o.ip || anyIP(h.ip) || anyIP(o.ip))
}

func hostPorts(pod *corev1.Pod) []hostPort {
	var ports []hostPort
	add := func(containers []corev1.Container, which func(*corev1.Container) bool) {
		for i := range containers {
			if !which(&containers[i]) {
				continue
			}
			for _, p := range containers[i].Ports {
				if p.HostPort <= 0 {
					continue
				}
				protocol := p.Protocol
				if protocol == "" {
					protocol = corev1.ProtocolTCP
				}
				ports = append(ports, hostPort{p.HostIP, protocol, p.HostPort})
			}
		}
	}
	add(pod.Spec.Containers, func(*corev1.Container) bool { return true })
	add(pod.Spec.InitContainers, func(c *corev1.Container) bool {
		return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	})
	return ports
}

// volumes looks at the nodes that the pod's persistent volumes can be used on.
func (q *question) volumes(node *cluster.Node) string {
	if q.self == nil {
		return ""
	}
	for _, v := range q.self.Volumes {
		if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
			continue
		}
		if ok, err := corehelpers.MatchNodeSelectorTerms(node.Node, v.Spec.NodeAffinity.Required); err != nil || !ok {
			return "volume " + v.Name + " cannot be used there"
		}
	}
	return ""
}
