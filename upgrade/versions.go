// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// Components beside those of the version-skew policy.
const (
	Etcd    = "etcd"
	CoreDNS = "coredns"
	Runtime = "container-runtime"
)

// Running is one component on one node, in the version that the cluster tells.
type Running struct {
	Component string `json:"component"`
	Node      string `json:"node,omitempty"`
	Version   string `json:"version"` // as it stands: v1.37.2, 3.7.0-0, containerd://2.4.2
	// Static tells that it is a static pod: the manifest on the node decides.
	Static bool `json:"static,omitempty"`
}

// labelledPlane tells whether a node has the label that kubeadm gives control planes.
func labelledPlane(n *cluster.Node) bool { return cluster.ControlPlane(n.Node) }

// RunningOf lists what runs where, by component and node: the control plane and etcd as far
// as they are pods of kube-system, kubelets, kube-proxies, CoreDNS and container runtimes.
// Any kubelet may make mirror pods for itself: where nodes have the label of the control
// plane, which a kubelet cannot give itself, its components are only believed on those.
// A hosted control plane is one API server without a node. Versions come from images' tags
// and from the Nodes.
func RunningOf(s *cluster.Snapshot) []Running {
	var all []Running
	labelled := slices.ContainsFunc(s.Nodes, labelledPlane)
	for _, p := range s.Pods {
		if p.Namespace != metav1.NamespaceSystem || p.Host == nil || budget.Finished(p.Pod) {
			continue
		}
		for i := range p.Spec.Containers {
			c := &p.Spec.Containers[i]
			if plane := c.Name != string(skew.KubeProxy) && c.Name != CoreDNS; plane && labelled && !labelledPlane(p.Host) {
				continue
			}
			if slices.Contains(podComponents(), c.Name) {
				all = append(all, Running{Component: c.Name, Node: p.Host.Name, Version: tagOf(c.Image), Static: p.Mirror()})
			}
		}
	}
	if s.Server != "" && !slices.ContainsFunc(all, func(r Running) bool { return r.Component == string(skew.APIServer) }) {
		all = append(all, Running{Component: string(skew.APIServer), Version: s.Server})
	}
	for _, n := range s.Nodes {
		all = append(all, Running{Component: string(skew.Kubelet), Node: n.Name, Version: n.Status.NodeInfo.KubeletVersion},
			Running{Component: Runtime, Node: n.Name, Version: n.Status.NodeInfo.ContainerRuntimeVersion})
	}
	all = slices.DeleteFunc(all, func(r Running) bool { return r.Version == "" })
	slices.SortFunc(all, inOrder)
	return all
}

// inOrder sorts by component, node and version.
func inOrder(a, b Running) int {
	return cmp.Or(cmp.Compare(rank(a.Component), rank(b.Component)), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Version, b.Version))
}

// podComponents are those that run as pods, by the names of their containers with kubeadm.
func podComponents() []string {
	return []string{string(skew.APIServer), string(skew.ControllerManager), string(skew.Scheduler), string(skew.CloudControllerManager), Etcd, string(skew.KubeProxy), CoreDNS}
}

// rank is the order in which components are told: the control plane first.
func rank(component string) int {
	return slices.Index([]string{string(skew.APIServer), string(skew.ControllerManager), string(skew.Scheduler), string(skew.CloudControllerManager),
		Etcd, string(skew.Kubelet), string(skew.KubeProxy), CoreDNS, Runtime}, component)
}

// tagOf is the tag of an image; "" if it has none.
func tagOf(image string) string {
	tagged, _, _ := strings.Cut(image, "@")
	colon := strings.LastIndexByte(tagged, ':')
	if colon < strings.LastIndexByte(tagged, '/') || colon < 0 {
		return ""
	}
	return tagged[colon+1:]
}

// components turns what runs into what the policy knows. Versions that cannot be read are
// left out; check tells of them. Controllers in static pods talk to the API server beside
// them, as kubeadm sets them up; a kubelet does if local says so.
func components(s *cluster.Snapshot, running []Running, local func(node string) bool) skew.Components {
	var c skew.Components
	emulated, _ := skew.Parse(s.Emulated)
	for _, r := range running {
		v, err := skew.Parse(r.Version)
		if err != nil {
			continue
		}
		i := skew.Instance{Name: r.Node, Version: v}
		switch skew.Component(r.Component) {
		case skew.APIServer:
			if server, err := skew.Parse(s.Server); err == nil && server.Minor == v.Minor {
				i.Emulated = emulated
			}
			c.APIServers = append(c.APIServers, i)
		case skew.ControllerManager:
			i.APIServer = tied(r)
			c.ControllerManagers = append(c.ControllerManagers, i)
		case skew.Scheduler:
			i.APIServer = tied(r)
			c.Schedulers = append(c.Schedulers, i)
		case skew.CloudControllerManager:
			c.CloudControllerManagers = append(c.CloudControllerManagers, i)
		case skew.Kubelet:
			if local(r.Node) {
				i.APIServer = r.Node
			}
			c.Kubelets = append(c.Kubelets, i)
		case skew.KubeProxy:
			c.KubeProxies = append(c.KubeProxies, i)
		}
	}
	return c
}

func tied(r Running) string {
	if r.Static {
		return r.Node
	}
	return ""
}
