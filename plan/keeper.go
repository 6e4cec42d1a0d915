// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
)

// Source is where a Keeper looks up what has changed: in memory, without waiting.
// *cluster.Watcher is one.
type Source interface {
	Snapshot() *cluster.Snapshot
	Node(name string) *corev1.Node
	Tied(namespace, name string) *cluster.Pod
	Budget(namespace, name string) *policyv1.PodDisruptionBudget
	Controller(uid types.UID) *cluster.Workload
	Volume(name string) *corev1.PersistentVolume
}

// Keeper keeps a World up to date, change by change: what a change costs depends
// on the change, not on the size of the cluster. The World then decides as one
// would that is made anew. Some things, which are rare, a World takes for lasting;
// when they change a new Keeper is in place (see Outdated).
//
// A Keeper belongs to one goroutine at a time. It looks at its Source only while
// it is made and in Renew, and holds no more of it than the newest objects.
type Keeper struct {
	source Source
	drain  Drain
	world  *World

	nodes     []*corev1.Node
	members   map[types.NamespacedName]*member
	budgets   map[types.NamespacedName]*allowance
	spaces    map[string]*finder // by namespace
	owners    map[types.UID]*owner
	byClaim   map[types.NamespacedName]crowd
	byVolume  map[string]crowd
	short     map[*owner]shortage // those that are short of pods
	departing crowd               // on nodes, and being deleted

	slots               []*member // by the number of a pod in the World
	freeSlots, freeSets []int
	freeRooms           []int

	// What is left to be reckoned before the World is right again.
	unjudged       crowd
	staleBudgets   map[*allowance]bool
	staleOwners    map[*owner]bool
	staleNamespace bool

	classes  int // when it was made
	outdated string
}

// crowd is a set of pods.
type crowd map[*member]struct{}

// Keep takes a Snapshot of the source and makes a World of it. Changes that come
// to be known after the call may be in the Snapshot already: telling Renew does no harm.
func Keep(source Source, drain Drain) *Keeper {
	s := source.Snapshot()
	k := &Keeper{
		source: source, drain: drain, world: emptyWorld(s), nodes: make([]*corev1.Node, len(s.Nodes)),
		members: make(map[types.NamespacedName]*member, len(s.Pods)), budgets: make(map[types.NamespacedName]*allowance, len(s.Budgets)),
		spaces: map[string]*finder{}, owners: make(map[types.UID]*owner, len(s.Workloads)),
		byClaim: map[types.NamespacedName]crowd{}, byVolume: map[string]crowd{}, departing: crowd{}, short: map[*owner]shortage{},
		unjudged: crowd{}, staleBudgets: map[*allowance]bool{}, staleOwners: map[*owner]bool{},
	}
	for i, n := range s.Nodes {
		k.nodes[i] = n.Node
	}
	for _, b := range s.Budgets {
		k.addBudget(b.PodDisruptionBudget)
	}
	for _, p := range s.Pods {
		k.add(p, true)
	}
	k.settle()
	k.world.workloads = []workload{{startup: usualStartup, termination: usualTermination}} // all pods are of that one
	k.world.board.Forget()
	k.world.snapshot = nil // else all of its pods would be kept for ever
	k.classes = k.world.board.Classes()
	return k
}

// World is the cluster as of the last Renew; it is changed by the next. It is good
// for decisions and their Reasons. Plans are made on a World from NewWorld: this
// one does not know how long pods take, nor does it have their objects.
func (k *Keeper) World() *World { return k.world }

// Nodes are the nodes as of the last Renew, by their number in the World. One that
// does not exist any more is as it was last seen.
func (k *Keeper) Nodes() []*corev1.Node { return k.nodes }

// Outdated says why a new Keeper is in place; "" while there is no reason. Until
// then this one is kept as right as it can be.
func (k *Keeper) Outdated() string { return k.outdated }

func (k *Keeper) outdate(format string, args ...any) {
	if k.outdated == "" {
		k.outdated = fmt.Sprintf(format, args...)
	}
}

// Renew takes over what has changed. The changes may come in any order, repeat
// themselves, and tell of objects that have changed again: all are looked up as they are now.
func (k *Keeper) Renew(changes []cluster.Change) {
	pods := &agenda{has: map[types.NamespacedName]bool{}}
	seen := map[cluster.Change]bool{}
	for _, c := range changes {
		c.Verb, c.Owner = "", "" // the newest state counts
		if c.Kind != cluster.KindWorkload {
			c.UID = ""
		}
		if seen[c] {
			continue
		}
		seen[c] = true
		key := types.NamespacedName{Namespace: c.Namespace, Name: c.Name}
		switch c.Kind {
		case cluster.KindNode:
			k.renewNode(c.Name)
		case cluster.KindBudget:
			k.renewBudget(key)
		case cluster.KindWorkload:
			pods.addAll(k.renewOwner(c.UID))
		case cluster.KindPod:
			pods.add(key)
		case cluster.KindClaim:
			pods.addAll(k.byClaim[key])
		case cluster.KindVolume:
			pods.addAll(k.byVolume[c.Name])
			if v := k.source.Volume(c.Name); v != nil && v.Spec.ClaimRef != nil {
				pods.addAll(k.byClaim[types.NamespacedName{Namespace: v.Spec.ClaimRef.Namespace, Name: v.Spec.ClaimRef.Name}])
			}
		case cluster.KindNamespace:
			k.staleNamespace = true
		case cluster.KindAttachment, cluster.KindWebhook, cluster.KindService, cluster.KindPriorityClass:
			// A World has nothing of them.
		}
	}
	if k.drain.Timed {
		pods.addAll(k.departing)
	}
	for _, key := range pods.keys {
		k.renewPod(key)
	}
	k.settle()
	switch board := k.world.board; {
	case board.Coarse():
		k.outdate("a pod has come whose affinity looks at labels that none looked at before")
	case k.staleNamespace && board.LooksAtNamespaces():
		k.outdate("a namespace has changed")
	case board.Classes() > 2*k.classes+mostNewClasses:
		k.outdate("most kinds of pods are new")
	}
}

// mostNewClasses lets small clusters double more than once.
const mostNewClasses = 1000

// agenda is a list of pods without repetitions.
type agenda struct {
	keys []types.NamespacedName
	has  map[types.NamespacedName]bool
}

func (a *agenda) add(key types.NamespacedName) {
	if !a.has[key] {
		a.has[key] = true
		a.keys = append(a.keys, key)
	}
}

func (a *agenda) addAll(c crowd) {
	for m := range c {
		a.add(m.key())
	}
}
