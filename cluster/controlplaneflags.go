// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The control plane components whose flags decide what happens to the pods of a
// lost node.
const (
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
)

// ControlPlaneProcess is one instance of a control plane component, as its pod
// tells how it was started.
type ControlPlaneProcess struct {
	Component string // APIServer or ControllerManager
	Pod       *Pod
	// Flags maps the name of each flag, without dashes in front and with - for _,
	// to its value as text: the last one if it is given more than once (all of them, with
	// commas between, for lists: of admission plugins, controllers, feature gates), "true" if it
	// has none. What the text means, and whether it means anything, is not judged.
	Flags map[string]string
}

// Where is where a flag of the process is set: the node for a static pod,
// otherwise the pod.
func (p ControlPlaneProcess) Where() Object {
	if p.Pod.Mirror() {
		return Object{Kind: "Node", Name: p.Pod.Spec.NodeName}
	}
	return Object{Kind: "Pod", Namespace: p.Pod.Namespace, Name: p.Pod.Name}
}

// String names the process: "kube-apiserver on cp-1", "kube-apiserver in pod kube-system/api-0".
func (p ControlPlaneProcess) String() string {
	where := p.Where()
	if where.Kind == "Node" {
		return p.Component + " on " + where.Name
	}
	return p.Component + " in pod " + where.Namespace + "/" + where.Name
}

// ControlPlaneFlags reads the command lines of the API servers and controller
// managers that run as pods of namespace kube-system, whether as static pods
// (kubeadm, Talos, kOps, RKE2) or otherwise. Sorted by component, node and pod.
// There are none in a managed cluster, whose control plane is not to be seen.
func ControlPlaneFlags(pods []*Pod) []ControlPlaneProcess {
	var found []ControlPlaneProcess
	for _, p := range pods {
		if p.Namespace != metav1.NamespaceSystem || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		for i := range p.Spec.Containers {
			if component, flags, ok := readCommand(&p.Spec.Containers[i]); ok {
				found = append(found, ControlPlaneProcess{Component: component, Pod: p, Flags: flags})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b ControlPlaneProcess) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Pod.Spec.NodeName, b.Pod.Spec.NodeName),
			cmp.Compare(a.Pod.Name, b.Pod.Name))
	})
	return found
}

// readCommand reads how a container is started. It is of a control plane
// component if that is what it runs, by itself or by way of a shell or of
// go-runner; or, where the image starts it and the container has but the flags,
// if that is what the container is called.
func readCommand(c *corev1.Container) (component string, flags map[string]string, ok bool) {
	words := slices.Concat(c.Command, c.Args)
	if len(words) > 0 && slices.Contains([]string{"sh", "bash", "dash", "ash"}, path.Base(words[0])) {
		words = strings.Fields(strings.Join(words[1:], " ")) // sh -c "exec kube-apiserver ..."
	}
	is := func(word string) bool { return word == APIServer || word == ControllerManager }
	for i, word := range words {
		value := i > 0 && strings.HasPrefix(words[i-1], "-") && !strings.Contains(word, "/") // of the flag before it
		if !strings.HasPrefix(word, "-") && !value && is(path.Base(word)) {
			return path.Base(word), readFlags(words[i+1:]), true
		}
	}
	if is(c.Name) {
		return c.Name, readFlags(words), true
	}
	return "", nil, false
}

// readFlags reads flags as pflag does: --name=value, --name value, --name.
// Underscores in names count as dashes (WordSepNormalizeFunc in
// k8s.io/component-base/cli/flag/flags.go). A word after a flag that is no flag
// itself is its value: the components take no arguments.
func readFlags(words []string) map[string]string {
	flags := map[string]string{}
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "--" {
			break
		}
		name, ok := strings.CutPrefix(word, "--")
		if !ok {
			continue
		}
		name, value, given := strings.Cut(name, "=")
		if !given {
			value = "true"
			if i+1 < len(words) && !strings.HasPrefix(words[i+1], "--") {
				i++
				value = words[i]
			}
		}
		name, value = strings.ReplaceAll(name, "_", "-"), strings.Trim(value, `"'`)
		if before, given := flags[name]; given && slices.Contains([]string{pluginsOff, pluginsOnly, "controllers", "feature-gates"}, name) {
			value = before + "," + value
		}
		flags[name] = value
	}
	return flags
}

// The flags of kube-apiserver that decide which admission plugins run, beside the one
// that switches on those that are off by default.
const (
	pluginsOff = "disable-admission-plugins"
	// pluginsOnly lists all that run; it is deprecated, and excludes the other flags.
	pluginsOnly = "admission-control"
)

// PluginOff tells whether an admission plugin of an API server that is on by default was
// switched off, and by which flag (AddFlags in pkg/kubeapiserver/options/admission.go and
// in k8s.io/apiserver/pkg/server/options/admission.go).
func (p ControlPlaneProcess) PluginOff(plugin string) (off bool, flag string) {
	lists := func(names string) bool {
		return slices.ContainsFunc(strings.Split(names, ","), func(name string) bool { return strings.TrimSpace(name) == plugin })
	}
	if lists(p.Flags[pluginsOff]) {
		return true, "--" + pluginsOff
	}
	if only, given := p.Flags[pluginsOnly]; given && !lists(only) {
		return true, "--" + pluginsOnly
	}
	return false, ""
}
