// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/plan"
)

// Cluster is what a run sees of its cluster, and does to it. Errors come as
// the API server gave them, wrapped: the engine decides which to try again.
type Cluster interface {
	// Snapshot ties together what the watches have brought. In a large cluster that
	// takes its time; Caches is to look up parts of it.
	Snapshot() *cluster.Snapshot
	Caches() plan.Source
	// Seen and Around return a node as the watches have brought it, Around with its
	// pods and their controllers; nil if there is none of that name. Workload is the
	// same for a workload with its pods, and Concerned says which workloads a change is about.
	Seen(name string) *corev1.Node
	Around(name string) *cluster.Node
	Workload(uid types.UID) *cluster.Workload
	Concerned(c cluster.Change) []types.UID
	// Subscribe opens a queue of what changes from now on.
	Subscribe() Changes
	// Done is closed when the watches were refused for good; Err says why.
	Done() <-chan struct{}
	Err() error

	// Node asks the API server for a node; nil if there is none of that name.
	Node(ctx context.Context, name string) (*corev1.Node, error)
	// Cordon and Uncordon mark a node, and leave and take back the run's mark on
	// it. They touch no other node of that name, and Uncordon no other run's mark.
	Cordon(ctx context.Context, node *corev1.Node, run string) (changed bool, err error)
	Uncordon(ctx context.Context, name, run string) (changed bool, err error)
	// Taint and Untaint put the soft taint of a run on a node and take it off again:
	// the scheduler then prefers other nodes. wanted is asked right before it is put
	// there. They touch no other run's.
	Taint(ctx context.Context, node *corev1.Node, run string, wanted func() bool) error
	Untaint(ctx context.Context, name, run string) error
	// Drain empties a node. It returns when that is done, when ctx ends (then
	// with ctx's cause), or when it cannot be done. What it tells of its
	// progress goes to the sink it was made with.
	Drain(ctx context.Context, name string) (Drained, error)
	// Leaving says what a Drain would still have to see to, as the API server has
	// it: it returns when the watches have brought every pod that is bound to the
	// node, also one that was right before it was cordoned.
	Leaving(ctx context.Context, name string) (drain.Selection, error)
	// Restart writes into the pod template of a Deployment that it is to be
	// restarted. It does nothing if that stands there already, if there is no such
	// Deployment any more, or if it is no singleton; a *failure says why a restart
	// would leave it without a Ready pod.
	Restart(ctx context.Context, s Surge) error
	// Note leaves an Event on a node. That it fails is of no consequence.
	Note(ctx context.Context, node *corev1.Node, reason, message string)
}

// Changes is a queue of changes; *cluster.Subscription is one.
type Changes interface {
	Ready() <-chan struct{}
	Take() []cluster.Change
	Close()
}

// Drained is what came of the drain of one node.
type Drained struct {
	event.Counts
	// Remaining are the pods that are still there.
	Remaining []event.Remaining
}

// Hosts returns the Host that carries a node.
type Hosts func(node *corev1.Node) host.Host

// lock is what keeps other runs away.
type lock interface {
	// check returns errLockLost if another run may be at work, any other error if
	// that cannot be known.
	check(ctx context.Context) error
	// lasting makes a renewal of the lock good for d from now on.
	lasting(ctx context.Context, d time.Duration) error
	// gone is closed when another run has it.
	gone() <-chan struct{}
}

// Reasons of the Events that a run leaves on nodes.
const (
	reasonCordoned   = drain.NoteCordoned
	reasonDrained    = drain.NoteDrained
	reasonUncordoned = drain.NoteUncordoned
	reasonBlocked    = drain.NoteBlocked
	reasonMaintained = "RefitMaintained"
)

// UnknownCommand says what to do about a command that was started by a process
// that was killed: nobody knows whether, and how far, it ran.
type UnknownCommand string

const (
	// UnknownStop fails the node: a person has to look.
	UnknownStop UnknownCommand = "stop"
	// UnknownRerun runs the command again: for commands that may be repeated.
	UnknownRerun UnknownCommand = "rerun"
	// UnknownDone takes the command for done: a person has looked.
	UnknownDone UnknownCommand = "done"
)
