// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/host"
	"refit.dev/refit/host/inventory"
)

const (
	oldVersion = "v1.36.3"
	newVersion = "v1.37.2"
)

// fakeFleet are the machines of a fakeCluster: what is installed and what runs on them
// outlives refit, as that of real ones does.
type fakeFleet struct {
	c *fakeCluster

	mu sync.Mutex
	// at is the version of each part of each machine: kubeadm, plane, kubelet, running.
	at map[string]map[string]string
	// ran counts how often each step was run for a version on a machine.
	ran map[string]int
	// fail says what comes of a step, before and after it has changed the machine; nil is well.
	fail func(node string, step Step, before bool) error
	// look says why a machine cannot be looked at.
	look func(node string) error
	// members says what is wrong with etcd; nil is nothing.
	members func() []string
	// asked are the nodes whose members of etcd were asked for last.
	asked []string
	// stepAside hears of each member of etcd that is to lead no more.
	stepAside func(node string) (to string, err error)
	// cleans: the machines have something to throw away in the end.
	cleans bool
	// broken are what Verify finds wrong.
	broken map[string]string
}

func newFakeFleet(c *fakeCluster) *fakeFleet {
	f := &fakeFleet{c: c, at: map[string]map[string]string{}, ran: map[string]int{}, broken: map[string]string{}}
	for name, n := range c.nodes {
		n.Status.NodeInfo.KubeletVersion = oldVersion
		f.at[name] = map[string]string{}
	}
	return f
}

func (f *fakeFleet) is(node, part, version string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at[node][part] == version
}

func (f *fakeFleet) Fetch(_ context.Context, v Visit, out host.Output) error {
	out("fetching")
	f.c.change(func() { f.c.did("fetch %s", v.Node.Name) })
	return f.failure(v.Node.Name, StepFetch, true)
}

func (f *fakeFleet) failure(node string, step Step, before bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		return nil
	}
	return f.fail(node, step, before)
}

func (f *fakeFleet) Open(_ context.Context, v Visit) (Procedure, error) {
	if f.look != nil {
		if err := f.look(v.Node.Name); err != nil {
			return nil, err
		}
	}
	return &fakeProcedure{f, v}, nil
}

func (f *fakeFleet) Members(_ context.Context, _ string, nodes []*corev1.Node) ([]string, error) {
	f.mu.Lock()
	f.asked = nil
	for _, node := range nodes {
		f.asked = append(f.asked, node.Name)
	}
	f.mu.Unlock()
	if f.members == nil {
		return nil, nil
	}
	return f.members(), nil
}

func (f *fakeFleet) StepAside(_ context.Context, _ string, node *corev1.Node) (string, error) {
	if f.stepAside == nil {
		return "", nil
	}
	return f.stepAside(node.Name)
}

type fakeProcedure struct {
	f *fakeFleet
	v Visit
}

// step brings one part of the machine to the version of the visit.
func (p *fakeProcedure) step(part string) MachineStep {
	name, f := p.v.Node.Name, p.f
	return MachineStep{
		Name: Step(part), Text: part + " to " + p.v.Stage.Version,
		Done: func(context.Context) (bool, error) {
			if f.look != nil {
				if err := f.look(name); err != nil {
					return false, err
				}
			}
			return f.is(name, part, p.v.Stage.Version), nil
		},
		Do: func(_ context.Context, out host.Output) error {
			out("working")
			if err := f.failure(name, Step(part), true); err != nil {
				return err
			}
			f.mu.Lock()
			f.at[name][part] = p.v.Stage.Version
			f.ran[fmt.Sprintf("%s %s %s", name, part, p.v.Stage.Version)]++
			f.mu.Unlock()
			f.c.change(func() {
				f.c.did("%s %s", part, name)
				if part == "running" {
					n := f.c.nodes[name].DeepCopy()
					n.Status.NodeInfo.KubeletVersion = p.v.Stage.Version
					f.c.nodes[name] = n
				}
			})
			return f.failure(name, Step(part), false)
		},
	}
}

func (p *fakeProcedure) Serving() []MachineStep {
	if p.v.Stage.Role == ControlPlaneKubelet {
		return nil
	}
	return []MachineStep{p.step("kubeadm"), p.step("plane")}
}

func (p *fakeProcedure) Empty() []MachineStep {
	if p.v.Stage.KubeletLater {
		return nil
	}
	return []MachineStep{p.step("kubelet"), p.step("running")}
}

func (p *fakeProcedure) After() []MachineStep {
	steps := []MachineStep{p.step("holds")}
	if p.f.cleans {
		last := p.step("clean")
		last.Last = true
		steps = append(steps, last)
	}
	return steps
}

func (p *fakeProcedure) Verify(context.Context, func(string) string) ([]string, error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if why := p.f.broken[p.v.Node.Name]; why != "" {
		return []string{why}, nil
	}
	return nil, nil
}

func (p *fakeProcedure) State(context.Context) (string, error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	return "kubeadm " + p.f.at[p.v.Node.Name]["kubeadm"], nil
}

func (p *fakeProcedure) Close() error { return nil }

// upgradeSpec takes a, and then the others, to the new version: a is the control plane.
func upgradeSpec(nodes ...string) *Spec {
	s := testSpec(nodes...)
	s.Reboot, s.Access = false, &inventory.Access{}
	s.MaxUnavailable, _ = ParseShare("1")
	s.Upgrade = &Upgrade{To: newVersion, Stages: []Stage{{Role: FirstControlPlane, Version: newVersion, Nodes: []string{"a"}}}}
	if len(nodes) > 1 {
		s.Upgrade.Stages = append(s.Upgrade.Stages, Stage{Role: Workers, Version: newVersion, Nodes: nodes[1:]})
	}
	return s
}

// upgradeTrial is a trial on a cluster with machines.
func upgradeTrial(t *testing.T, c *fakeCluster, spec *Spec) (*trial, *fakeFleet) {
	t.Helper()
	f := newFakeFleet(c)
	tr := newTrial(t, c, spec)
	tr.work = tr.upgrading(f)
	return tr, f
}

func (tr *trial) upgrading(f *fakeFleet) upgrading {
	return upgrading{machines: f, local: func(node *corev1.Node) host.Host { return fakeHost{c: tr.cluster, node: node.Name} }}
}

// etcd puts a member of etcd on a node.
func (c *fakeCluster) etcd(node string, ready bool) {
	c.change(func() {
		c.pods = slices.DeleteFunc(c.pods, func(p *corev1.Pod) bool { return p.Name == "etcd-"+node })
		pod := c.newPod("etcd", node, ready)
		pod.Name, pod.Namespace, pod.OwnerReferences = "etcd-"+node, "kube-system", nil
		pod.Labels = map[string]string{"component": "etcd", "tier": "control-plane"}
		pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		c.pods = append(c.pods, pod)
	})
}

var errBroken = errors.New("broken")

// killedLog is a journal that takes no more records after the nth: as a process that is killed.
func killAt(n int) func(Record) error {
	seen := 0
	return func(Record) error {
		if seen++; seen > n {
			return errors.New("killed")
		}
		return nil
	}
}

func (f *fakeFleet) atVersion(t *testing.T, nodes ...string) {
	t.Helper()
	for _, name := range nodes {
		n, _ := f.c.Node(t.Context(), name)
		if n.Status.NodeInfo.KubeletVersion != newVersion {
			t.Errorf("%s: kubelet %s", name, n.Status.NodeInfo.KubeletVersion)
		}
		for _, part := range []string{"kubeadm", "plane", "kubelet", "running", "holds"} {
			if !f.is(name, part, newVersion) {
				t.Errorf("%s: %s is not at %s", name, part, newVersion)
			}
			if got := f.ran[name+" "+part+" "+newVersion]; got != 1 {
				t.Errorf("%s: %s was run %d times", name, part, got)
			}
		}
	}
}
