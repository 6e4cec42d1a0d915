// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// checkAPIs tells of deprecated APIs that somebody uses.
func (d *decision) checkAPIs() {
	for _, api := range d.Deprecated {
		object := cluster.Object{Kind: "API", Name: api.name()}
		switch {
		case api.Removed.IsZero() || api.Removed.Minor > d.plan.To.Minor:
			d.add(APIDeprecated, object, "is deprecated%s, and somebody asks for it", removedIn(api.Removed))
		case d.intent.AllowRemovedAPIs:
			d.add(APIRemoved, object, "is removed in 1.%d, and somebody has asked for it since the API server started; that is allowed", api.Removed.Minor)
			d.plan.Findings[len(d.plan.Findings)-1].Severity = cluster.Warning
		default:
			d.add(APIRemoved, object, "is removed in 1.%d, and somebody has asked for it since the API server started", api.Removed.Minor)
		}
	}
	for _, s := range d.Stored {
		object := cluster.Object{Kind: "CustomResourceDefinition", Name: s.Definition}
		if s.Served {
			d.add(StoredVersionGone, object, "objects may be stored as %s, which is deprecated", s.Version)
			continue
		}
		d.add(StoredVersionGone, object, "objects may be stored as %s, which is not served", s.Version)
	}
}

func removedIn(v skew.Version) string {
	if v.IsZero() {
		return ""
	}
	return fmt.Sprintf(" (removed in 1.%d)", v.Minor)
}

// name is resource.version.group, as kubectl has it.
func (a DeprecatedAPI) name() string {
	return strings.TrimSuffix(a.Resource+"."+a.Version+"."+a.Group, ".")
}

// checkGates looks for feature gates and flags that a version on the way does not know.
func (d *decision) checkGates() {
	for _, name := range d.moving() {
		h, looked := d.Hosts[name]
		if !looked || h.Problem != "" {
			continue
		}
		minors := d.minorsOf(name, true)
		for _, gate := range slices.Sorted(maps.Keys(h.KubeletGates)) {
			if minor := gateGone(gate, minors); minor > 0 {
				d.add(GateRemoved, nodeObject(name), "its kubelet has the feature gate %s set, which 1.%d does not know", gate, minor)
			}
		}
		for _, minor := range minors {
			for _, flag := range brings()[minor].kubeletFlags {
				if slices.ContainsFunc(h.KubeletFlags, func(f string) bool { return strings.HasPrefix(strings.TrimLeft(f, "-")+"=", flag+"=") }) {
					d.add(KubeletFlagRemoved, nodeObject(name), "its kubelet is started with --%s, which 1.%d does not know", flag, minor)
				}
			}
		}
	}
}

// checkConfigGates reads the configuration that kubeadm keeps for kubelets.
func (d *decision) checkConfigGates() {
	if d.Config != nil {
		for _, gate := range slices.Sorted(maps.Keys(d.Config.KubeletGates)) {
			if minor := gateGone(gate, d.minors()); minor > 0 {
				d.add(GateRemoved, cluster.Object{Kind: "ConfigMap", Namespace: "kube-system", Name: kubeletMap},
					"sets the feature gate %s, which kubelets of 1.%d do not know", gate, minor)
			}
		}
	}
}

// checkPodGates reads the command lines of the control plane and of kube-proxy.
func (d *decision) checkPodGates() {
	for _, p := range d.Snapshot.Pods {
		if p.Namespace != metav1.NamespaceSystem || p.Host == nil {
			continue
		}
		for i := range p.Spec.Containers {
			c := &p.Spec.Containers[i]
			if !p.Mirror() || !slices.Contains(podComponents(), c.Name) {
				continue
			}
			for _, gate := range gatesIn(c) {
				if minor := gateGone(gate, d.minorsOf(p.Host.Name, false)); minor > 0 {
					d.add(GateRemoved, cluster.Object{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}, "has the feature gate %s set, which 1.%d does not know", gate, minor)
				}
			}
		}
	}
}

// gatesIn lists the feature gates on the command line of a container.
func gatesIn(c *corev1.Container) []string {
	var gates []string
	words := slices.Concat(c.Command, c.Args)
	for i, word := range words {
		value, found := strings.CutPrefix(word, "--feature-gates=")
		if word == "--feature-gates" && i+1 < len(words) {
			value, found = words[i+1], true
		}
		if !found {
			continue
		}
		for gate := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(gate), "=")
			gates = append(gates, name[strings.LastIndexByte(name, ':')+1:]) // component:Gate is possible since 1.32
		}
	}
	return gates
}

// gateGone is the first of the minors that does not know a gate; 0 if all do.
func gateGone(gate string, minors []int) int {
	for _, minor := range minors {
		if slices.Contains(brings()[minor].gates, gate) {
			return minor
		}
	}
	return 0
}

// minors are those of the hops. What was removed between two of them counts as well.
func (d *decision) minors() []int {
	var list []int
	for _, h := range d.plan.Hops {
		list = append(list, h.To.Minor)
	}
	return list
}

// minorsOf are the minors whose changes a node meets: all up to the last that its kubelet
// moves to, even if it skips some, or those that its control plane moves through.
func (d *decision) minorsOf(node string, kubelet bool) []int {
	last := 0
	for _, h := range d.plan.Hops {
		for _, v := range slices.Concat(h.ControlPlane, h.Workers) {
			moves := slices.ContainsFunc(v.Steps, func(s Step) bool {
				return s.Name == StepKubelet || !kubelet && (s.Name == StepApply || s.Name == StepNode)
			})
			if v.Node == node && moves {
				last = h.To.Minor
			}
		}
	}
	var list []int
	for minor := oldestKnown; minor <= last; minor++ {
		if minor > d.current(node, kubelet) {
			list = append(list, minor)
		}
	}
	return list
}

// current is the minor of what runs on a node now.
func (d *decision) current(node string, kubelet bool) int {
	component := skew.APIServer
	if kubelet {
		component = skew.Kubelet
	}
	for _, i := range d.now.Of(component) {
		if i.Name == node {
			return i.Version.Minor
		}
	}
	return 0
}
