// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/skew"
)

// Upgrade says to which versions a run brings its nodes, and in which order.
type Upgrade struct {
	// To is the version that every node has in the end, such as v1.37.2.
	To string `json:"to"`
	// Stages follow each other: all nodes of one are finished before the next begins.
	Stages []Stage `json:"stages"`
	// AllAtOnce: nodes are neither cordoned nor drained, and all of a stage of
	// workers are worked on at the same time.
	AllAtOnce bool  `json:"allAtOnce,omitempty"`
	Hooks     Hooks `json:"hooks,omitzero"`
	// Backup says where etcd is saved before anything is touched; nil: it is not.
	Backup *Backup `json:"backup,omitempty"`
	// Held are the packages of each node that were held when the upgrade was planned, and
	// are held again.
	Held map[string][]string `json:"held,omitempty"`
	// ImageRepository is where the cluster's images come from; "" is kubeadm's default.
	ImageRepository string `json:"imageRepository,omitempty"`
	// ExternalEtcd tells that etcd is on machines of its own.
	ExternalEtcd bool `json:"externalEtcd,omitempty"`
	// KubeProxy tells that kubeadm brings kube-proxy along.
	KubeProxy bool `json:"kubeProxy,omitempty"`
	// IgnorePreflight are the checks of kubeadm that are ignored, Patches the directory with
	// patches on the machines, Clean has kubeadm's copies of etcd's data removed.
	IgnorePreflight []string `json:"ignorePreflight,omitempty"`
	Patches         string   `json:"patches,omitempty"`
	Clean           bool     `json:"clean,omitempty"`
	// Probes are Services that are asked from the machines all through the upgrade.
	Probes []ServiceProbe `json:"probes,omitempty"`
	// Units: components are services of systemd; nil: the cluster is one of kubeadm.
	Units *Binaries `json:"units,omitempty"`
	// Replace: workers are not upgraded, but give way to new machines.
	Replace *Replace `json:"replace,omitempty"`
	// Managed: somebody else runs the control plane.
	Managed *Managed `json:"managed,omitempty"`
}

// Hooks are commands in the shell of the operator's machine. They find REFIT_RUN
// and REFIT_VERSION in their environment, those about a node also REFIT_NODE,
// REFIT_NODE_UID and REFIT_NODE_ADDRESS. One that fails ends the run.
type Hooks struct {
	BeforeNode  string `json:"beforeNode,omitempty"`
	AfterNode   string `json:"afterNode,omitempty"`
	BeforeStage string `json:"beforeStage,omitempty"`
	AfterStage  string `json:"afterStage,omitempty"`
}

// Role is what the nodes of a stage are.
type Role string

const (
	// FirstControlPlane is the one for which kubeadm upgrade apply is run.
	FirstControlPlane Role = "first-control-plane"
	OtherControlPlane Role = "control-plane"
	// ControlPlaneKubelet is a second visit, for the kubelet alone: with several control
	// planes it must not be newer than any API server.
	ControlPlaneKubelet Role = "control-plane-kubelet"
	Workers             Role = "workers"
	// ManagedControlPlane is of no node: somebody else runs the control plane.
	ManagedControlPlane Role = "managed-control-plane"
)

// ControlPlane tells whether the role is one of the control plane.
func (r Role) ControlPlane() bool { return r != Workers }

// Stage is a group of nodes that are brought to a version.
type Stage struct {
	Role Role `json:"role"`
	// Version is that of this hop, such as v1.36.3.
	Version string `json:"version"`
	// Nodes are sorted by name.
	Nodes []string `json:"nodes"`
	// Components are those that are raised, where they are services of systemd; the order is
	// that of package units.
	Components []string `json:"components,omitempty"`
	// KubeletLater: the kubelet is left as it is, and the node is not drained. A later
	// stage moves it.
	KubeletLater bool `json:"kubeletLater,omitempty"`
	// KubeletThere: the kubelet is at the version already, and the node is not drained.
	KubeletThere bool `json:"kubeletThere,omitempty"`
	// Pause stops the run when the stage is done, and says why, as in "after the
	// control plane". Resuming goes on behind it.
	Pause string `json:"pause,omitempty"`
	// Expected is when the plan expected each node's visit, for the report. Nothing goes by it.
	Expected []Expected `json:"expected,omitempty"`
}

// Expected is when a visit to a node was expected to begin, in seconds from the beginning
// of the run, and how long it was to take.
type Expected struct {
	Node    string  `json:"node"`
	Start   float64 `json:"startSeconds"`
	Seconds float64 `json:"seconds"`
}

// String names the stage in messages.
func (s Stage) String() string {
	switch s.Role {
	case FirstControlPlane:
		return "first control plane to " + s.Version
	case OtherControlPlane:
		return "control plane to " + s.Version
	case ControlPlaneKubelet:
		return "kubelet of a control plane to " + s.Version
	case ManagedControlPlane:
		return "managed control plane to " + s.Version
	case Workers:
	}
	return "workers to " + s.Version
}

// visits returns the numbers of the stages that a node is in, 0 for the first. A
// node of a run without stages is visited once, in none.
func (s *Spec) visits(node string) (stages []int) {
	if s.Upgrade == nil {
		return nil
	}
	for i, stage := range s.Upgrade.Stages {
		if _, found := slices.BinarySearch(stage.Nodes, node); found {
			stages = append(stages, i)
		}
	}
	return stages
}

// next returns the number of the stage that a node is in, or waits for; false if it
// is finished.
func (s *Spec) next(node string, n *NodeStatus) (stage int, ok bool) {
	visits := s.visits(node)
	if n.Visits >= len(visits) || n.Standing == Maintained || n.Standing == Skipped {
		return 0, false
	}
	return visits[n.Visits], true
}

// stageOf returns the stage that a node is in, or waits for; nil without one.
func (s *Spec) stageOf(node string, n *NodeStatus) *Stage {
	if i, ok := s.next(node, n); ok {
		return &s.Upgrade.Stages[i]
	}
	return nil
}

// current returns the number of the first stage that is not finished; that of all
// stages if none is left.
func (s *Spec) current(nodes map[string]*NodeStatus) int {
	if s.Upgrade == nil {
		return 0
	}
	first := len(s.Upgrade.Stages)
	for name, n := range nodes {
		if i, ok := s.next(name, n); ok {
			first = min(first, i)
		}
	}
	return first
}

// hops returns how often a node is visited at most.
func (s *Spec) hops() int {
	most := 1
	if s.Upgrade != nil {
		for _, n := range s.Nodes {
			most = max(most, len(s.visits(n.Name)))
		}
	}
	return most
}

// turn tells whether a node may be worked on now, with the current stage at that number.
func (s *Spec) turn(node string, n *NodeStatus, current int) bool {
	if s.Upgrade == nil {
		return true
	}
	i, ok := s.next(node, n)
	return ok && i == current
}

// atOnce tells whether the nodes of a stage go all together.
func (s *Spec) atOnce(stage int) bool {
	return s.Upgrade != nil && s.Upgrade.AllAtOnce && stage < len(s.Upgrade.Stages) && s.Upgrade.Stages[stage].Role == Workers
}

// controlPlanes returns the names of the nodes that are in a stage of the control plane, sorted.
func (u *Upgrade) controlPlanes() []string {
	var names []string
	for _, stage := range u.Stages {
		if stage.Role.ControlPlane() {
			names = append(names, stage.Nodes...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// validateVisit says why a node could not be brought to the version of a stage by the method
// of the upgrade.
func (s *Spec) validateVisit(node string, stage Stage) error {
	if s.Upgrade.Managed != nil {
		_, err := skew.Parse(stage.Version)
		return err
	}
	if s.Upgrade.Units == nil {
		_, err := targetOf(Visit{Run: s.Run, Node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, Stage: stage, Upgrade: s.Upgrade, Done: func(Step) bool { return false }})
		return err
	}
	_, err := skew.Parse(stage.Version)
	if err == nil && len(stage.Components) == 0 {
		err = errors.New("no component is named that is to be raised")
	}
	return cmp.Or(err, s.Upgrade.Units.validate())
}

func (s *Spec) validateStages() error {
	u := s.Upgrade
	if u == nil {
		return nil
	}
	if s.Access == nil {
		return errors.New("an upgrade needs a way to its machines (access)")
	}
	if u.To == "" || len(u.Stages) == 0 {
		return errors.New("an upgrade has a version and stages")
	}
	if u.Backup != nil && !filepath.IsAbs(u.Backup.File) {
		return fmt.Errorf("the backup of the upgrade goes to %q: want an absolute path", u.Backup.File)
	}
	last := map[string]string{}
	for i, stage := range u.Stages {
		switch {
		case stage.Role == ManagedControlPlane && u.Managed != nil && len(stage.Nodes) == 0:
			if _, err := skew.Parse(stage.Version); err != nil {
				return fmt.Errorf("stage %d of the upgrade: %w", i+1, err)
			}
			continue
		case len(stage.Nodes) == 0 || stage.Version == "":
			return fmt.Errorf("stage %d of the upgrade has no nodes or no version", i+1)
		case !slices.Contains([]Role{FirstControlPlane, OtherControlPlane, ControlPlaneKubelet, Workers}, stage.Role):
			return fmt.Errorf("stage %d of the upgrade: unknown role %q", i+1, stage.Role)
		case stage.Role.ControlPlane() && len(stage.Nodes) > 1:
			return fmt.Errorf("stage %d of the upgrade: control planes go one at a time", i+1)
		case !slices.IsSorted(stage.Nodes) || len(slices.Compact(slices.Clone(stage.Nodes))) != len(stage.Nodes):
			return fmt.Errorf("stage %d of the upgrade: nodes are not sorted, or named twice", i+1)
		}
		if stage.KubeletLater && stage.Role != FirstControlPlane && stage.Role != OtherControlPlane {
			return fmt.Errorf("stage %d of the upgrade: the kubelet of %s cannot be left for later", i+1, stage.Role)
		}
		if stage.KubeletThere && (stage.KubeletLater || !stage.Role.ControlPlane()) {
			return fmt.Errorf("stage %d of the upgrade: the kubelet of %s cannot be there already", i+1, stage.Role)
		}
		for _, name := range stage.Nodes {
			if s.target(name) == nil {
				return fmt.Errorf("stage %d of the upgrade: node %s is not one of the run", i+1, name)
			}
			if err := s.validateVisit(name, stage); err != nil {
				return fmt.Errorf("stage %d of the upgrade, node %s: %w", i+1, name, err)
			}
			if last[name] = stage.Version; stage.KubeletLater {
				last[name] = "a version without its kubelet"
			}
		}
	}
	for _, n := range s.Nodes {
		if last[n.Name] != u.To {
			return fmt.Errorf("node %s: no stage of the upgrade brings it to %s", n.Name, u.To)
		}
	}
	if err := s.validateManaged(); err != nil {
		return err
	}
	return s.validateReplace()
}
