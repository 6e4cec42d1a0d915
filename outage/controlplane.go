// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
)

// The components without which the rules of this package do not come to bear.
const (
	scheduler = "kube-scheduler"
	etcd      = "etcd"
)

// controlPlane is where the components run that are to be seen as pods. There is nothing in
// it for a managed cluster, whose control plane is elsewhere.
type controlPlane struct {
	// instances are those of each component, as names of nodes.
	instances map[string][]string
	// dead nodes are not Ready as it is, so that what is on them does not count.
	dead map[string]bool
}

func newControlPlane(s *cluster.Snapshot) controlPlane {
	plane := controlPlane{map[string][]string{}, map[string]bool{}}
	for _, n := range s.Nodes {
		plane.dead[n.Name] = !cluster.Ready(n.Node)
	}
	for _, p := range s.Pods {
		if p.Namespace != metav1.NamespaceSystem || p.Host == nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		// kubeadm and most others label them so; the names of the containers are older still.
		component := p.Labels["component"]
		for _, name := range []string{cluster.APIServer, cluster.ControllerManager, scheduler, etcd} {
			if component == name || p.Mirror() && slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Name == name }) {
				plane.instances[name] = append(plane.instances[name], p.Host.Name)
			}
		}
	}
	return plane
}

// on lists what runs on the node.
func (c controlPlane) on(node string) []string {
	var names []string
	for name, nodes := range c.instances {
		if slices.Contains(nodes, node) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// left is how many of how many instances of a component remain without the lost nodes.
// Those on nodes that are not Ready are gone already. But if too few would be left for the
// cluster to work as it does, they are there after all, and it is their nodes' kubelets
// alone that are not.
func (c controlPlane) left(component string, lost map[string]bool) (left, of int) {
	alive, kept := 0, 0
	for _, node := range c.instances[component] {
		of++
		if !lost[node] {
			kept++
		}
		if c.dead[node] {
			continue
		}
		alive++
		if !lost[node] {
			left++
		}
	}
	if enough := component != etcd && alive > 0 || component == etcd && alive > of/2; !enough {
		return kept, of
	}
	return left, of
}

// without is the same with more nodes that are dead.
func (c controlPlane) without(silent []string) controlPlane {
	if len(silent) == 0 {
		return c
	}
	c.dead = maps.Clone(c.dead)
	for _, node := range silent {
		c.dead[node] = true
	}
	return c
}

// leaderless tells whether the kube-controller-manager that works may be lost, and another
// one is left to take over.
func (c controlPlane) leaderless(lost map[string]bool) bool {
	left, _ := c.left(cluster.ControllerManager, lost)
	return left > 0 && c.gone(cluster.ControllerManager, lost) > 0
}

// gone is how many instances of a component go away with the lost nodes.
func (c controlPlane) gone(component string, lost map[string]bool) (gone int) {
	before, _ := c.left(component, nil)
	after, _ := c.left(component, lost)
	return before - after
}

// halted says why nothing happens to any pod when these nodes are gone: nobody is
// left to do it. It is "" if somebody is.
func (c controlPlane) halted(lost map[string]bool) string {
	var none []string
	needed := false // those without which nothing happens
	for _, name := range []string{etcd, cluster.APIServer, cluster.ControllerManager, scheduler} {
		if left, of := c.left(name, lost); of > 0 && left == 0 {
			none = append(none, name)
			needed = needed || name != scheduler
		}
	}
	if needed {
		last := len(none) - 1
		if last > 0 {
			return "no " + strings.Join(none[:last], ", ") + " or " + none[last] + " is left"
		}
		return "no " + none[0] + " is left"
	}
	if left, of := c.left(etcd, lost); of > 0 && left <= of/2 {
		return fmt.Sprintf("etcd has %d of %d members left, which is no majority, so the API server cannot write", left, of)
	}
	return ""
}

// unscheduled tells whether nobody is left to find nodes for new pods.
func (c controlPlane) unscheduled(lost map[string]bool) bool {
	left, of := c.left(scheduler, lost)
	return of > 0 && left == 0
}
