// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// checkVersions holds what runs in the cluster against the version-skew policy.
func checkVersions(c *checker) {
	components := skew.Components{}
	for _, n := range c.s.Nodes {
		if v, ok := c.parse(nodeObject(n), skew.Kubelet, n.Status.NodeInfo.KubeletVersion, skew.Parse); ok {
			components.Kubelets = append(components.Kubelets, skew.Instance{Name: n.Name, Version: v})
		}
	}
	for _, p := range c.s.Pods {
		if p.Namespace == metav1.NamespaceSystem && p.Host != nil && !budget.Finished(p.Pod) {
			c.addComponent(&components, p)
		}
	}
	c.addServer(&components)
	for _, v := range skew.Check(components) {
		code := VersionSkew
		if v.Rule == skew.RuleSupported {
			code = VersionUnsupported
		}
		c.add(code, c.componentObject(v), "%s", v.Message())
	}
}

// addComponent reads the versions of the control plane and of kube-proxy from the
// images of their containers, which have the name of their binary with kubeadm
// and with most others.
func (c *checker) addComponent(all *skew.Components, p *cluster.Pod) {
	for i := range p.Spec.Containers {
		container := &p.Spec.Containers[i]
		var list *[]skew.Instance
		instance := skew.Instance{Name: p.Host.Name}
		switch component := skew.Component(container.Name); component {
		case skew.APIServer:
			list = &all.APIServers
		case skew.ControllerManager:
			list, instance.APIServer = &all.ControllerManagers, p.Host.Name
		case skew.Scheduler:
			list, instance.APIServer = &all.Schedulers, p.Host.Name
		case skew.CloudControllerManager:
			list = &all.CloudControllerManagers
		case skew.KubeProxy:
			list = &all.KubeProxies
		default:
			continue
		}
		if v, ok := c.parse(podObject(p), skew.Component(container.Name), container.Image, skew.ParseImage); ok {
			instance.Version = v
			*list = append(*list, instance)
		}
	}
}

// addServer adds what the API server said of itself: as the only one if none is
// to be seen, and what it emulates, which is no part of an image.
func (c *checker) addServer(all *skew.Components) {
	var names []string
	for _, i := range all.APIServers {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	self := cluster.Object{Kind: "Cluster", Name: "cluster"}
	switch len(names) {
	case 0:
		if c.s.Server == "" {
			return // nobody was asked: not a cluster, but objects in a file
		}
		c.add(ControlPlaneHosted, self, "no kube-apiserver runs in namespace %s", metav1.NamespaceSystem)
	case 1:
		c.add(ControlPlaneSingle, cluster.Object{Kind: "Node", Name: names[0]}, "runs the only kube-apiserver")
	}
	if c.s.Server == "" {
		return
	}
	server, ok := c.parse(self, skew.APIServer, c.s.Server, skew.Parse)
	if !ok {
		return
	}
	var emulated skew.Version
	if c.s.Emulated != "" {
		emulated, _ = c.parse(self, skew.APIServer, c.s.Emulated, skew.Parse)
	}
	if len(all.APIServers) == 0 {
		all.APIServers = []skew.Instance{{Version: server, Emulated: emulated}}
		return
	}
	for i := range all.APIServers {
		if all.APIServers[i].Version.Minor == server.Minor {
			all.APIServers[i].Emulated = emulated
		}
	}
}

// parse reads a version, and tells if it cannot.
func (c *checker) parse(object cluster.Object, component skew.Component, text string, read func(string) (skew.Version, error)) (skew.Version, bool) {
	if text == "" {
		return skew.Version{}, false
	}
	v, err := read(text)
	if err != nil {
		c.add(VersionUnknown, object, "%s: %v", component, err)
		return skew.Version{}, false
	}
	return v, true
}

// componentObject is the node that the instance runs on, or the cluster.
func (c *checker) componentObject(v skew.Violation) cluster.Object {
	if v.Instance.Name != "" {
		return cluster.Object{Kind: "Node", Name: v.Instance.Name}
	}
	return cluster.Object{Kind: "Cluster", Name: "cluster"}
}
