// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
)

// now is when every transcript plays.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// town is a cluster in the making.
type town struct {
	objects  []runtime.Object
	state    upgrade.State
	kubelets map[string]string // versions, by node
}

// parseTown reads a cluster, one thing a line:
//
//	control-plane NAME VERSION [etcd=TAG] [api=VERSION] [proxy=VERSION] [gates=TEXT] [etcd-down] [cordoned] [not-ready] [pods=N]
//	worker NAME VERSION [proxy=VERSION] [cordoned] [not-ready] [runtime=NAME] [pods=N]
//	units NAME VERSION [etcd=VERSION] [proxy=VERSION] [plane] [offers=1.37.2,...] [offers-etcd=VERSION] [noproxy] [etcd-unasked] [refuses=TEXT] [down=COMPONENT] [link=COMPONENT] [wrapper=COMPONENT] [lacks=COMPONENT]
//	                                                    a machine whose components are services, and what the source has for it; with noproxy its
//	                                                    kube-proxy is the pod of its node
//	config VERSION [external-etcd] [gate=NAME]          kubeadm's record
//	host NAME {...}                                     what was found on the machine, as YAML; offers=1.37.2,... is short for packages of them
//	api RESOURCE GROUP VERSION [REMOVED]                a deprecated API that somebody asks for
//	backup none | PLACE AGE                             the last that was proven
//	stored DEFINITION VERSION [served]                  a version of a custom resource
//	serves ADDRESS                                      where an API server says that it is
//
// A worker may have label=KEY, address=ADDRESS, and member: a static pod of etcd.
func parseTown(text string) (*town, error) {
	t := &town{state: upgrade.State{Cluster: "uid", Hosts: map[string]upgrade.Host{}}, kubelets: map[string]string{}}
	t.objects = append(t.objects, &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-proxy"}})
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := t.read(words, strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
	}
	return t, nil
}

func (t *town) read(words []string, line string) error {
	flags := map[string]string{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		flags[name] = value
	}
	_, served := flags["served"]
	switch words[0] {
	case "control-plane", "worker":
		t.addNode(words[0] == "control-plane", words[1], words[2], flags)
	case "config":
		_, external := flags["external-etcd"]
		t.state.Config = &upgrade.Config{KubernetesVersion: words[1], ExternalEtcd: external}
		if gate := flags["gate"]; gate != "" {
			t.state.Config.KubeletGates = map[string]bool{gate: true}
		}
	case "units":
		return t.addUnits(words[1], words[2], flags)
	case "host":
		return t.addHost(words[1], strings.TrimSpace(line[strings.Index(line, words[1])+len(words[1]):]), flags["offers"])
	case "api":
		api := upgrade.DeprecatedAPI{Resource: words[1], Group: strings.Trim(words[2], `"`), Version: words[3]}
		if len(words) > 4 {
			var err error
			if api.Removed, err = skew.Parse(words[4]); err != nil {
				return err
			}
		}
		t.state.Deprecated = append(t.state.Deprecated, api)
	case "backup":
		t.state.Backup = &upgrade.Backup{}
		if words[1] != "none" {
			old, err := time.ParseDuration(words[2])
			if err != nil {
				return err
			}
			t.state.Backup = &upgrade.Backup{Place: words[1], Saved: now.Add(-old)}
		}
	case "stored":
		t.state.Stored = append(t.state.Stored, upgrade.StoredVersion{Definition: words[1], Version: words[2], Served: served, Deprecated: served})
	case "serves":
		t.state.Servers = append(t.state.Servers, words[1])
	default:
		return fmt.Errorf("no such thing")
	}
	return nil
}

func (t *town) addHost(name, text, offers string) error {
	h := upgrade.Host{Offers: map[int]upgrade.Offers{}}
	if text, found := strings.CutPrefix(text, "offers="+offers); found && offers != "" {
		return t.addHost(name, text, "\n"+offers)
	}
	if err := yaml.UnmarshalStrict([]byte(text), &h); err != nil {
		return err
	}
	if h.Problem != "" {
		t.state.Hosts[name] = h
		return nil
	}
	if h.Packages == nil {
		for _, p := range []string{"kubeadm", "kubelet", "kubectl"} {
			h.Packages = append(h.Packages, upgrade.Package{Name: p, Version: strings.TrimPrefix(t.kubelets[name], "v") + "-1.1"})
		}
	}
	for version := range strings.SplitSeq(strings.TrimSpace(offers), ",") {
		v, err := skew.Parse(version)
		if version == "" {
			continue
		}
		if err != nil {
			return err
		}
		if h.Offers == nil {
			h.Offers = map[int]upgrade.Offers{}
		}
		o := h.Offers[v.Minor]
		for _, p := range []string{"kubeadm", "kubelet", "kubectl"} {
			o.Packages = append(o.Packages, upgrade.Offer{Name: p, Version: strings.TrimPrefix(version, "v") + "-1.1", Upstream: v})
		}
		h.Offers[v.Minor] = o
	}
	t.state.Hosts[name] = h
	return nil
}

// addUnits puts a machine with services there; its Node is one without pods.
func (t *town) addUnits(name, version string, flags map[string]string) error {
	t.state.Method = upgrade.Units
	_, noProxy := flags["noproxy"]
	t.objects = slices.DeleteFunc(t.objects, func(o runtime.Object) bool {
		p, isPod := o.(*corev1.Pod)
		return isPod && p.Spec.NodeName == name && p.Namespace == metav1.NamespaceSystem && !(noProxy && p.Spec.Containers[0].Name == "kube-proxy")
	})
	h := upgrade.Host{Offers: map[int]upgrade.Offers{}, Binaries: map[string]string{}, Refused: map[string][]string{}}
	components := []string{"kubelet", "kube-proxy"}
	if noProxy {
		components = components[:1]
	}
	if _, plane := flags["plane"]; plane {
		components = append([]string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}, components...)
		h.APIServer = &upgrade.Health{}
	}
	if flags["etcd"] != "" {
		components = append([]string{"etcd"}, components...)
		if _, unasked := flags["etcd-unasked"]; !unasked {
			h.Etcd = &upgrade.EtcdHealth{}
		}
	}
	for _, c := range components {
		has := map[string]string{"etcd": flags["etcd"], "kube-proxy": cmp.Or(flags["proxy"], version)}[c]
		u := upgrade.Unit{Component: c, Program: "/usr/local/bin/" + c, Running: cmp.Or(has, version), Link: flags["link"] == c}
		if flags["wrapper"] == c {
			u.Wrapper = "/usr/bin/env, which is not called " + c
		}
		h.Packages = append(h.Packages, upgrade.Package{Name: c, Version: u.Running})
		if flags["down"] == c {
			u.Running = ""
		}
		h.Units = append(h.Units, u)
	}
	for text := range strings.SplitSeq(flags["offers"], ",") {
		v, err := skew.Parse(text)
		if text == "" {
			continue
		}
		if err != nil {
			return err
		}
		o := h.Offers[v.Minor]
		for _, c := range components {
			offered := v.String()
			if c == "etcd" {
				offered = flags["offers-etcd"]
			}
			if offered == "" || c == flags["lacks"] {
				continue
			}
			o.Packages = append(o.Packages, upgrade.Offer{Name: c, Version: offered, Upstream: v, Bytes: 100 << 20})
			h.Binaries[v.String()+"/bin/linux/amd64/"+c] = "sum of " + c
		}
		h.Offers[v.Minor] = o
		if flags["refuses"] != "" {
			h.Refused[v.String()] = []string{strings.ReplaceAll(flags["refuses"], "_", " ")}
		}
	}
	t.state.Hosts[name] = h
	return nil
}

func (t *town) addNode(control bool, name, version string, flags map[string]string) {
	has := func(flag string) bool { _, found := flags[flag]; return found }
	or := func(flag, otherwise string) string {
		if value := flags[flag]; value != "" {
			return value
		}
		return otherwise
	}
	t.kubelets[name] = version
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	n.Spec.Unschedulable = has("cordoned")
	n.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: version, ContainerRuntimeVersion: or("runtime", "containerd://2.4.2")}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: *quantity("110"), corev1.ResourceCPU: *quantity("8"), corev1.ResourceMemory: *quantity("32Gi")}
	ready := corev1.ConditionTrue
	if has("not-ready") {
		ready = corev1.ConditionFalse
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	t.objects = append(t.objects, n)
	pod := func(component, tag string, static bool, command ...string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: component + "-" + name}}
		p.Spec = corev1.PodSpec{NodeName: name, Containers: []corev1.Container{{Name: component, Image: "registry.k8s.io/" + component + ":" + tag, Command: append([]string{component}, command...)}}}
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
		if static {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		} else {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: component, Controller: ptr.To(true)}}
		}
		t.objects = append(t.objects, p)
		return p
	}
	pod("kube-proxy", or("proxy", version), false)
	if control {
		n.Labels["node-role.kubernetes.io/control-plane"] = ""
		api := or("api", version)
		pod("kube-apiserver", api, true, "--feature-gates="+flags["gates"])
		pod("kube-controller-manager", api, true)
		pod("kube-scheduler", api, true)
		if p := pod("etcd", or("etcd", "3.6.8-0"), true); has("etcd-down") {
			p.Status.Conditions[0].Status = corev1.ConditionFalse
		}
	}
	if flags["label"] != "" {
		n.Labels[flags["label"]] = "true"
	}
	if flags["address"] != "" {
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: flags["address"]}}
	}
	if has("member") {
		pod("etcd", "3.6.8-0", true)
	}
	if flags["pods"] != "" {
		for i := range len(flags["pods"]) { // one for each character
			p := pod(fmt.Sprintf("web-%d", i), "1", false)
			p.Namespace, p.OwnerReferences[0].Kind, p.OwnerReferences[0].Name = "shop", "StatefulSet", "web"
			switch flags["pods"][i] {
			case 'b': // bare
				p.OwnerReferences = nil
			case 'e': // with an emptyDir
				p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			}
		}
	}
}

// make puts the objects together, with more of them.
func (t *town) make(more ...runtime.Object) (*upgrade.State, error) {
	snapshot, err := cluster.FromObjects(now, append(t.objects, more...)...)
	t.state.Snapshot = snapshot
	return &t.state, err
}
