// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/plan"
	"refit.dev/refit/skew"
)

// Intent is what is wanted.
type Intent struct {
	// Version is the goal. One without a patch means the newest that every host's
	// repositories have.
	Version skew.Version    `json:"version"`
	Workers skew.WorkerHops `json:"workerHops"`
	// AllowUnsupported lets the goal be a minor without fixes, or a pre-release.
	AllowUnsupported bool `json:"allowUnsupported,omitempty"`
	// AllowRemovedAPIs lets somebody use APIs that the goal does not have.
	AllowRemovedAPIs bool `json:"allowRemovedAPIs,omitempty"`
	// MaxUnavailable is how many nodes may be out at once while workers move, 1 or more.
	MaxUnavailable int `json:"maxUnavailable"`
	// Strategy is how workers move; "" is Rolling. Surge is how many machines more there may be
	// with Replace.
	Strategy Strategy `json:"strategy,omitempty"`
	Surge    int      `json:"surge,omitempty"`
	// Force and DeleteEmptyDirData are kubectl drain's: what drains allow to be lost.
	Force              bool `json:"force,omitempty"`
	DeleteEmptyDirData bool `json:"deleteEmptyDirData,omitempty"`
	// IgnorePreflight are the checks of kubeadm that will be ignored, "all" for all of them.
	IgnorePreflight []string `json:"ignorePreflight,omitempty"`
	// NoBackup: etcd is not saved before anything is touched.
	NoBackup bool `json:"noBackup,omitempty"`
	// Method is by what versions are raised; "" is what was found. Source is where binaries
	// come from with Units, see package release.
	Method Method `json:"method,omitempty"`
	Source string `json:"source,omitempty"`
}

// ignores tells whether a check of kubeadm is ignored. kubeadm does not mind upper and lower
// case (k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/validation.ValidateIgnorePreflightErrors).
func (in Intent) ignores(check string) bool {
	return slices.ContainsFunc(in.IgnorePreflight, func(name string) bool {
		return strings.EqualFold(name, check) || strings.EqualFold(name, "all")
	})
}

// Strategy is how workers get to a version.
type Strategy string

// The strategies.
const (
	// Rolling drains workers and upgrades them where they are, a few at a time.
	Rolling Strategy = "rolling"
	// AllAtOnce upgrades all of them at the same time; no node is drained.
	AllAtOnce Strategy = "all-at-once"
	// Replace has new machines come, drains the old ones and removes them.
	Replace Strategy = "replace"
)

// drain are the options of the drains.
func (in Intent) drain() drain.Options {
	o := drain.DefaultOptions()
	o.Force, o.DeleteEmptyDirData = in.Force, in.DeleteEmptyDirData
	return o
}

// Plan is how a cluster gets to a version. It is a value: it says all that is needed to
// do it, to show it, and to find out whether it still holds.
type Plan struct {
	// From is the version of the oldest API server, To the goal.
	From skew.Version `json:"from"`
	To   skew.Version `json:"to"`
	// Workers is how often the kubelets of workers move.
	Workers skew.WorkerHops `json:"workerHops"`
	// MaxUnavailable is how many nodes may be out at once while workers move.
	MaxUnavailable int `json:"maxUnavailable"`
	// Strategy is how workers move; "" is Rolling. Surge is how many machines more there may be
	// with Replace.
	Strategy Strategy `json:"strategy,omitempty"`
	Surge    int      `json:"surge,omitempty"`
	// Method is by what versions are raised; "" is Kubeadm. Binaries are the SHA-256 of the
	// binaries for Units, in hexadecimal, by their paths in a release.
	Method   Method            `json:"method,omitempty"`
	Binaries map[string]string `json:"binaries,omitempty"`
	// Backup tells that etcd is saved, and the snapshot proven, before anything is touched.
	Backup bool `json:"backup,omitempty"`
	// Hops are in their order; none if the cluster is there already, or if there is no
	// way, which a finding tells.
	Hops []Hop `json:"hops"`
	// Components is what runs where, and what it will be after each hop.
	Components []Component `json:"components"`
	// Findings are sorted, blockers first. With a blocker the plan cannot be applied.
	Findings []cluster.Finding `json:"findings"`
	// Seconds is how long it is expected to take.
	Seconds float64 `json:"seconds"`
}

// Hop brings the control plane one minor on at most.
type Hop struct {
	To skew.Version `json:"to"`
	// ControlPlane are the visits to control-plane nodes, one after the other. Where kubelets
	// of several control planes may talk to any API server, each node is visited twice: its
	// kubelet waits until no API server is older.
	ControlPlane []NodeSteps `json:"controlPlane"`
	// Workers are in the order in which they are expected to start; as many at once as
	// MaxUnavailable and the budgets allow.
	Workers []NodeSteps `json:"workers"`
	// KubeProxy tells that kubeadm brings kube-proxy along, when it has done the last
	// API server.
	KubeProxy bool    `json:"kubeProxy,omitempty"`
	Seconds   float64 `json:"seconds"`
}

// Role is the part that a node has in a hop.
type Role string

// The roles.
const (
	// FirstControlPlane is where kubeadm upgrade apply runs, ControlPlane where kubeadm
	// upgrade node does.
	FirstControlPlane Role = "first-control-plane"
	ControlPlane      Role = "control-plane"
	// ControlPlaneKubelet is a second visit, for the kubelet alone.
	ControlPlaneKubelet Role = "control-plane-kubelet"
	// ManagedControlPlane is that of a hop whose control plane somebody else runs: of no node.
	ManagedControlPlane Role = "managed-control-plane"
	Worker              Role = "worker"
)

// NodeSteps is one visit to a node.
type NodeSteps struct {
	Node string    `json:"node"`
	UID  types.UID `json:"uid"`
	Role Role      `json:"role"`
	// Components are those that are raised, where they are services of systemd.
	Components []string `json:"components,omitempty"`
	// Packages are those that move, or binaries. To is empty if the host was not looked at.
	Packages []PackageMove `json:"packages,omitempty"`
	// Steps are in their order.
	Steps []Step `json:"steps"`
	// StaysCordoned: somebody else has cordoned the node, so that it is not uncordoned.
	StaysCordoned bool `json:"staysCordoned,omitempty"`
	// Pods is how many have to leave the node, Moves where they are expected.
	Pods  int         `json:"pods"`
	Moves []plan.Move `json:"moves,omitempty"`
	// Start is when the visit is expected to begin, from the beginning of the hop, and
	// Seconds how long it takes.
	Start   float64 `json:"startSeconds"`
	Seconds float64 `json:"seconds"`
}

// PackageMove is a package of a host and the exact version that it gets.
type PackageMove struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	Held bool   `json:"held,omitempty"` // it is held, and held again afterwards
}

// StepName names a step.
type StepName string

// The steps, in their order.
const (
	StepPackages StepName = "kubeadm-package" // repository to the minor, package lists, kubeadm
	StepApply    StepName = "kubeadm-apply"   // kubeadm upgrade apply: static pods, cluster configuration, addons
	StepNode     StepName = "kubeadm-node"    // kubeadm upgrade node: static pods if there are any, the kubelet's configuration
	StepDrain    StepName = "drain"           // cordon and drain
	StepKubelet  StepName = "kubelet"         // kubelet and kubectl packages, restart
	StepReady    StepName = "ready"           // Ready at the new version
	StepUncordon StepName = "uncordon"

	StepEtcd              StepName = "etcd" // where components are services of systemd: the binary, restart, well at the version
	StepAPIServer         StepName = "kube-apiserver"
	StepControllerManager StepName = "kube-controller-manager"
	StepScheduler         StepName = "kube-scheduler"
	StepKubeProxy         StepName = "kube-proxy"

	StepCreate StepName = "create-machine" // a new machine is made
	StepJoin   StepName = "join"           // it joins, and is Ready with the pods of its DaemonSets
	StepRemove StepName = "remove"         // the old Node is deleted, and its machine removed

	StepRaise StepName = "raise" // the provider's command raises its control plane
)

// Step is a part of a visit, with how long it is expected to take.
type Step struct {
	Name    StepName `json:"name"`
	Seconds float64  `json:"seconds"`
}

// Component is a component on a node, and what it will be.
type Component struct {
	Name    string `json:"name"`
	Node    string `json:"node,omitempty"`
	Current string `json:"current"`
	// After is its version after each hop; "" where that is not known.
	After []string `json:"after"`
}

// Blockers are the findings that keep the plan from being applied.
func (p *Plan) Blockers() []cluster.Finding {
	var list []cluster.Finding
	for _, f := range p.Findings {
		if f.Severity == cluster.Blocker {
			list = append(list, f)
		}
	}
	return list
}
