// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Fate is what becomes of a pod of a lost node. It is part of the contract of the
// command line: add, never rename.
type Fate string

const (
	// FateRestarts: its node is back before it is deleted; its containers start
	// again, or have never stopped.
	FateRestarts Fate = "restarts-in-place"
	// FateReplaced: it is deleted, and its controller makes another one while the node is
	// away: at once, when it is gone, or when its Job has waited.
	FateReplaced Fate = "replaced"
	// FateUnwanted: it is deleted, and its controller wants none in its place: it wants
	// fewer pods than it has, or none on this node while that has its taint.
	FateUnwanted Fate = "unwanted"
	// FateStuck: it is deleted, and nothing takes its place while its object is
	// Terminating: until the node is back, deleted or out of service.
	FateStuck Fate = "stuck-terminating"
	// FateLost: it is deleted, and nobody makes another one.
	FateLost Fate = "lost"
	// FateFailsJob: it is deleted, and counts as one failure too many for its Job,
	// which ends as failed.
	FateFailsJob Fate = "fails-job"
	// FateStays: it is not deleted, however long the node is away.
	FateStays Fate = "stays"
	// FateFinished: it had ended before; nothing that runs is lost.
	FateFinished Fate = "finished"
)

// Fates are all of them, those that hurt most first.
func Fates() []Fate {
	return []Fate{FateLost, FateFailsJob, FateStuck, FateReplaced, FateUnwanted, FateRestarts, FateStays, FateFinished}
}

// Request says what is lost.
type Request struct {
	// Nodes are the names of those that go away, all at the same moment.
	Nodes []string
	// For is how long they are away from now on, also those that are silent already: until
	// their kubelets report again. 0: for ever.
	For time.Duration
	// Heard is when nodes that are silent already renewed their leases for the last time,
	// by the clock of the API server, as far as that is known: see Silent. Nodes of which
	// nothing is known are taken to have worked until now. It may be nil.
	Heard map[string]Renewal
	// Quotas are those of the cluster. Which of them may refuse new pods is told in
	// Forecast.Remarks; whether replacements fit is judged without them.
	Quotas []corev1.ResourceQuota
}

// Renewal is when a lease was last renewed: at At, and somewhere from Earliest to Latest.
type Renewal struct{ At, Earliest, Latest time.Time }

// Moment is when something is expected, in seconds since the loss; below 0 it was before. Nobody can
// know it better than from Earliest to Latest: leases are renewed and looked at
// in rhythms of their own, and nodes that wait for a taint get it in any order.
type Moment struct {
	At       float64 `json:"at"`
	Earliest float64 `json:"earliest"`
	Latest   float64 `json:"latest"`
}

// Forecast is what a loss leads to. Everything is sorted: nodes and zones by
// name, pods by namespace and name, workloads by kind, namespace and name.
type Forecast struct {
	// ForSeconds is how long the nodes are away; nil: for ever.
	ForSeconds *float64 `json:"forSeconds,omitempty"`
	// Nodes are those that were lost, Zones the zones they are in.
	Nodes []Node `json:"nodes"`
	Zones []Zone `json:"zones"`
	// Pods are those bound to the lost nodes, each with its one fate.
	Pods []Pod `json:"pods"`
	// Workloads are those that lose pods for a while or for good.
	Workloads []Workload `json:"workloads"`
	// Budgets are those that several workloads share and that lose pods, sorted by
	// namespace and name. One that is about a single workload is told of there.
	Budgets []Budget `json:"sharedBudgets,omitempty"`
	// Remarks are what is worth knowing beside that, the most important first.
	Remarks []string `json:"remarks"`
}

// Node is a node that was lost.
type Node struct {
	Name string `json:"name"`
	Zone string `json:"zone,omitempty"`
	// SilentFor is for how many seconds it has been silent already; 0: it works, as far as is known.
	SilentFor float64 `json:"silentForSeconds,omitempty"`
	// Unreachable is when its Ready condition becomes Unknown and its pods are set
	// to not Ready; nil if it is back before.
	Unreachable *Moment `json:"unreachable,omitempty"`
	// Tainted is when it gets the taint from which tolerations count; nil if it never
	// does: it is back before, or Untainted says why not.
	Tainted   *Moment `json:"tainted,omitempty"`
	Untainted string  `json:"untainted,omitempty"`
	// Maybe: some nodes of its zone are tainted before that stops, and which ones is chance,
	// so that Tainted and Untainted may be the other way round.
	Maybe bool `json:"maybe,omitempty"`
	// ControlPlane are the components of the control plane that run there as pods.
	ControlPlane []string `json:"controlPlane,omitempty"`
	// Pods is how many are bound to it.
	Pods int `json:"pods"`
}

// Mode is what the node controller makes of a zone (ComputeZoneState in
// pkg/controller/nodelifecycle/node_lifecycle_controller.go).
type Mode string

const (
	// ModeNormal: nodes are tainted at the eviction rate.
	ModeNormal Mode = "normal"
	// ModePartial: a large part of the zone is not Ready: the secondary rate, and
	// none at all in a zone that is not large.
	ModePartial Mode = "partial-disruption"
	// ModeFull: the whole zone is not Ready: the eviction rate again, since it is
	// rather the zone that is gone than the network to it.
	ModeFull Mode = "full-disruption"
	// ModeAll: that is so of all zones; nothing is tainted.
	ModeAll Mode = "all-zones-lost"
)

// Zone is a zone that lost nodes. Nodes without labels of zone and region are a
// zone of their own, whose name is empty.
type Zone struct {
	Name string `json:"name"`
	// Nodes it has, Unready those that are not Ready, the lost ones included. Nodes
	// labelled node.kubernetes.io/exclude-disruption are in neither.
	Nodes   int  `json:"nodes"`
	Unready int  `json:"unready"`
	Mode    Mode `json:"mode"`
	// Rate is how many nodes are tainted per second; 0: none.
	Rate float64 `json:"rate"`
	// Maybe: some nodes are tainted before it comes to that, or may be: see Node.Maybe.
	Maybe bool `json:"maybe,omitempty"`
}

// Pod is a pod of a lost node and what becomes of it.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Node      string `json:"node"`
	// Owner is what answers for it: Deployment/web; empty for a pod that stands alone.
	Owner string `json:"owner,omitempty"`
	Fate  Fate   `json:"fate"`
	// Deleted is when it is deleted: when it gets its deletion timestamp. nil: never.
	// AtSecond is the same in a single number, for scripts.
	Deleted  *Moment  `json:"deleted,omitempty"`
	AtSecond *float64 `json:"atSecond"`
	// Toleration is how many seconds it tolerates the taint; nil: for ever.
	Toleration *int64 `json:"tolerationSeconds,omitempty"`
	// Reason is why, in a sentence.
	Reason string `json:"reason"`
	// IfOff is what becomes of it instead if its machine was off meanwhile, as when it boots,
	// and not only out of reach; empty if that makes no difference.
	IfOff Fate `json:"ifOff,omitempty"`
	// Close: the return of the node and the deletion are so near each other that
	// it may come the other way.
	Close bool `json:"close,omitempty"`
	// Maybe: whether it is deleted at all is chance, because it is chance whether its node
	// is tainted. Fate is what becomes of it one way.
	Maybe bool `json:"maybe,omitempty"`
	// Replacement is what is made instead; nil if nothing is while the node is away.
	Replacement *Replacement `json:"replacement,omitempty"`
	// Volumes are its persistent volumes that can be used on one node at a time.
	Volumes []Volume `json:"volumes,omitempty"`
}

// Worst is the fate that counts where pods are summed up, in Workload and Hurt: nobody can
// tell from outside whether a machine is off, or out of reach.
func (p *Pod) Worst() Fate { return cmp.Or(p.IfOff, p.Fate) }

// Replacement is the pod that takes another one's place.
type Replacement struct {
	// Fits tells whether there is room for it; Node is where it is expected.
	Fits bool   `json:"fits"`
	Node string `json:"node,omitempty"`
	// Why not: what speaks against how many nodes.
	Why []string `json:"why,omitempty"`
	// WhenBack is where one that does not fit is expected when the lost nodes are back;
	// empty: nowhere either, or they do not come back.
	WhenBack string `json:"whenBack,omitempty"`
	// Starts is when it can start, other than at once: when its volumes are
	// detached from the lost node, and when its Job has waited for long enough. nil: at once, or, if Waits says so, not before
	// the node is back, deleted or out of service.
	Starts *Moment `json:"starts,omitempty"`
	Waits  string  `json:"waits,omitempty"`
}

// Volume is a persistent volume of a pod of a lost node.
type Volume struct {
	Name  string `json:"name"`
	Claim string `json:"claim,omitempty"`
	// Detached is when it is taken from the lost node by force; nil: not while the
	// node is away.
	Detached *Moment `json:"detached,omitempty"`
	Reason   string  `json:"reason"`
}

// Workload is what is left of a workload while its nodes are away.
type Workload struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Desired is how many pods it is to have; below 0: unknown.
	Desired int `json:"desired"`
	// Budget is the disruption budget of its pods; Required is how many healthy ones
	// it asks for, 0 if that cannot be told. Nothing of what happens here asks it. Of several
	// it is the one that asks for most, and Budgets are all of them; of one that others
	// share, Required is 0 and Forecast.Budgets tells.
	Budget   string   `json:"budget,omitempty"`
	Required int      `json:"required,omitempty"`
	Budgets  []string `json:"budgets,omitempty"`
	// Before is how many healthy pods it had. Steps are how many it has from when
	// on, beginning with the loss: by what is the case, not by what the API shows,
	// which finds out later. A replacement that fits counts from when it can start, and a
	// pod with IfOff as that says.
	Before int    `json:"before"`
	Steps  []Step `json:"steps"`
}

// Budget is what is left of the pods of a disruption budget that several workloads share.
type Budget struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Workloads are those whose pods it is about: Deployment/web. Required is how many
	// healthy ones it asks for of all of them together.
	Workloads []string `json:"workloads"`
	Required  int      `json:"required"`
	// Before and Steps are as those of a Workload.
	Before int    `json:"before"`
	Steps  []Step `json:"steps"`
}

// Step is from when on a workload has so many healthy pods.
type Step struct {
	At      float64 `json:"at"`
	Healthy int     `json:"healthy"`
}
