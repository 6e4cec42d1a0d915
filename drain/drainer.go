// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// ErrBusy says that the node is being drained already by the same Drainer.
var ErrBusy = errors.New("the node is being drained already")

// Drainer empties nodes, many at once. It shares what all of them depend on:
// what the budgets have left and how much the API server can take. Its methods
// may be called from any goroutine. It needs no closing: while no Drain is under
// way it does nothing.
type Drainer struct {
	client  kubernetes.Interface
	watcher *cluster.Watcher
	options Options
	sink    event.Sink
	evictor Evictor
	clock   clock.WithTicker

	mu      sync.Mutex
	active  int           // Drains under way
	quit    chan struct{} // closed when the last one is over
	stopped chan struct{} // closed when the loop has ended

	commands chan func()
	answers  chan answered
	state    // of the loop alone
}

// state belongs to the one goroutine that decides.
type state struct {
	nodes    map[string]*nodeDrain
	pods     map[types.UID]*podDrain
	gates    map[types.NamespacedName]*gate
	quorums  map[types.UID]*quorum // by their set
	queue    []*podDrain           // to be asked for as soon as the limiter has room
	inFlight int
	limiter  limiter
	alarms   alarms
	// generations are those of the budgets whose specification was looked at.
	generations map[types.NamespacedName]int64
	// answering: the server was asked before, and did not refuse for want of a
	// permission. One that refuses after that may merely be starting.
	answering bool
	// blindVolumes: it was said that volume attachments may not be read.
	blindVolumes bool
	// What has to be looked at again at the end of the round.
	touched map[*nodeDrain]bool
	unclear map[*podDrain]bool
}

// New makes a Drainer for a whole run. It reads the cluster through w, which must
// watch nodes, pods, budgets and workloads, and volumes, claims and attachments
// if it may; it changes it through client and tells sink what happens.
func New(client kubernetes.Interface, w *cluster.Watcher, options Options, sink event.Sink) *Drainer {
	d := &Drainer{
		client: client, watcher: w, options: options, sink: sink,
		evictor: options.Evictor, clock: options.Clock,
		commands: make(chan func()), answers: make(chan answered),
		state: state{
			nodes: map[string]*nodeDrain{}, pods: map[types.UID]*podDrain{}, gates: map[types.NamespacedName]*gate{}, quorums: map[types.UID]*quorum{},
			limiter: newLimiter(), generations: map[types.NamespacedName]int64{},
			touched: map[*nodeDrain]bool{}, unclear: map[*podDrain]bool{},
		},
	}
	if d.clock == nil {
		d.clock = clock.RealClock{}
	}
	switch {
	case d.evictor != nil:
	case options.DisableEviction:
		d.evictor = NewDeleter(client)
	default:
		d.evictor = NewEvictor(client)
	}
	return d
}

// Select says what a drain of the node would do with each of its pods now.
func (d *Drainer) Select(node string) Selection {
	return d.options.selectPods(node, d.watcher.PodsOn(node), d.clock.Now(), d.facts)
}

func (d *Drainer) facts(pod *corev1.Pod) podFacts {
	if !ofDaemonSet(pod) {
		return podFacts{}
	}
	chain := d.watcher.Controllers(pod)
	facts := podFacts{daemonSetMissing: len(chain) > 0 && !chain[0].Found}
	if n := d.watcher.Node(pod.Spec.NodeName); n != nil {
		facts.removed, facts.byDrain = d.options.removes(n, pod)
	}
	return facts
}

// Drain evicts what has to leave the node and waits until those pods, and their
// volume attachments, are gone. It does not cordon the node: who does not do that
// first drains in vain. It may be called for many nodes at once.
//
// The error is nil once the node is empty but for what stays by rule; a
// *RefusedError if pods of the node may not be evicted under the options; an
// *UnfinishedError if the time was up or ctx ended, which returns at once; one
// for which errors.Is finds ErrNodeDeleted, ErrNodeReplaced or ErrBusy; or that of the API
// server's refusal. The Result is valid with every error.
func (d *Drainer) Drain(ctx context.Context, node string) (Result, error) {
	return d.drain(ctx, node, nil)
}

// drain is Drain. doomed are the pods that had to leave a node right before it was
// tainted as out of service: some of them may be on their way out, or gone, by now.
func (d *Drainer) drain(ctx context.Context, node string, doomed []*corev1.Pod) (Result, error) {
	if d.options.DryRun != DryRunNone {
		return d.rehearse(ctx, node)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.enter()
	defer d.leave()

	n := newNodeDrain(ctx, node, d.clock.Now())
	n.doomed = doomed
	d.commands <- func() { d.begin(n) }
	select {
	case <-n.done:
	case <-ctx.Done():
		d.commands <- func() { d.end(n, &UnfinishedError{Cause: context.Cause(ctx)}) }
		<-n.done
	}
	return n.result, n.err
}

// enter starts the loop with the first Drain, leave ends it with the last.
func (d *Drainer) enter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active++
	if d.active == 1 {
		d.quit, d.stopped = make(chan struct{}), make(chan struct{})
		go d.loop(d.watcher.Subscribe(), d.quit, d.stopped)
	}
}

func (d *Drainer) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active--
	if d.active == 0 {
		close(d.quit)
		<-d.stopped
	}
}

// tell emits an event.
func (d *Drainer) tell(e event.Event) {
	e.Time, e.Run = d.clock.Now(), d.options.Run
	d.sink.Emit(e)
}

// Result is what a Drain did and what it left. Slices are sorted by namespace and name.
type Result struct {
	Node string
	event.Counts
	// EvictedPods are those whose eviction was accepted.
	EvictedPods []EvictedPod
	// Remaining are the pods that are still there although they should not be.
	Remaining []event.Remaining
	// Elapsed is the wall time of the Drain.
	Elapsed time.Duration
}

// EvictedPod is a pod whose eviction was accepted.
type EvictedPod struct {
	event.Pod
	// Controllers are those who have to replace the pod, nearest first.
	Controllers []*cluster.Workload
	// Gone tells whether the pod has really left.
	Gone bool
}

// UnfinishedError says that a Drain ended before the node was empty.
type UnfinishedError struct {
	Node      string
	Remaining []event.Remaining
	// Cause is ErrTimeout, or that of the context.
	Cause error
}

// ErrTimeout is the Cause of a Drain that took longer than Options.Timeout.
var ErrTimeout = errors.New("timeout")

func (e *UnfinishedError) Unwrap() error { return e.Cause }

// Error names the first few pods that remain.
func (e *UnfinishedError) Error() string {
	const few = 3
	text := fmt.Sprintf("node %s is not drained (%v): %d pods remain", e.Node, e.Cause, len(e.Remaining))
	for i, r := range e.Remaining {
		if i == few {
			return text + ", ..."
		}
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		text += sep + r.Pod.String() + " (" + r.Blocker.Message + ")"
	}
	return text
}
