// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

import "fmt"

// Component is a program that the policy speaks of, by the name of its binary.
type Component string

// The components of the policy.
const (
	APIServer              Component = "kube-apiserver"
	ControllerManager      Component = "kube-controller-manager"
	Scheduler              Component = "kube-scheduler"
	CloudControllerManager Component = "cloud-controller-manager"
	Kubelet                Component = "kubelet"
	KubeProxy              Component = "kube-proxy"
	Kubectl                Component = "kubectl"
)

// Instance is one running copy of a component.
type Instance struct {
	// Name is the node that it runs on. It ties a kube-proxy to the kubelet beside
	// it, and may be empty where nothing needs tying.
	Name string
	// Version is the version of the binary.
	Version Version
	// Emulated is the version that the binary was told to behave like
	// (--emulated-version); zero if it was not. Only its minor counts.
	Emulated Version
	// APIServer is the Name of the only API server that this instance talks to, as
	// with kubeadm's controller-manager and scheduler. Empty, or a name that is not
	// among the API servers, means any of them, as behind a load balancer.
	APIServer string
}

// minor is the minor that the policy goes by.
func (i Instance) minor() int {
	if !i.Emulated.IsZero() {
		return i.Emulated.Minor
	}
	return i.Version.Minor
}

// describe returns "kubelet v1.37.2 on node-1".
func (i Instance) describe(c Component) string {
	text := fmt.Sprintf("%s %s", c, i.Version)
	if !i.Emulated.IsZero() {
		text += fmt.Sprintf(" (emulating 1.%d)", i.Emulated.Minor)
	}
	if i.Name != "" {
		text += " on " + i.Name
	}
	return text
}

// Components is what runs in a cluster, as far as it is known: what is not known
// is left out and not judged. Order does not matter.
type Components struct {
	APIServers              []Instance
	ControllerManagers      []Instance
	Schedulers              []Instance
	CloudControllerManagers []Instance
	Kubelets                []Instance
	KubeProxies             []Instance
	// Kubectls are clients; their Names are free.
	Kubectls []Instance

	// Newest is the newest released minor as far as the caller knows; 0 leaves it
	// to this package (NewestKnown, or the newest release among the instances).
	Newest int
}

// group is the instances of one component.
type group struct {
	component Component
	instances []Instance
}

// groups returns every component, in the order in which violations are told:
// the control plane, then nodes, then clients.
func (c Components) groups() []group {
	return []group{
		{APIServer, c.APIServers},
		{ControllerManager, c.ControllerManagers},
		{Scheduler, c.Schedulers},
		{CloudControllerManager, c.CloudControllerManagers},
		{Kubelet, c.Kubelets},
		{KubeProxy, c.KubeProxies},
		{Kubectl, c.Kubectls},
	}
}
