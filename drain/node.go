// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// nodeDrain is a Drain under way.
type nodeDrain struct {
	name    string
	uid     types.UID
	ctx     context.Context //nolint:containedctx // of the Drain, for its requests
	cancel  context.CancelFunc
	started time.Time
	ended   bool

	pods    map[types.UID]*podDrain
	skipped map[types.UID]bool // whether it stays
	// outOfService is the node while its taint has pods deleted, with nobody asking
	// for it; nil otherwise.
	outOfService *corev1.Node
	// lost: its kubelet does not answer, and that has been told.
	lost bool
	// doomed are those that this drain has had deleted by setting that taint.
	doomed []*corev1.Pod
	// volumes are those that have to be detached, with a pod that used each; set
	// once all pods have left.
	volumes map[string]*podDrain

	done   chan struct{} // closed when result and err are set
	result Result
	err    error
}

func newNodeDrain(ctx context.Context, name string, now time.Time) *nodeDrain {
	n := &nodeDrain{
		name: name, started: now,
		pods: map[types.UID]*podDrain{}, skipped: map[types.UID]bool{},
		done: make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancel(ctx)
	return n
}

// begin looks at the node's pods and starts with those that have to leave.
func (d *Drainer) begin(n *nodeDrain) {
	node := d.watcher.Node(n.name)
	switch {
	case d.nodes[n.name] != nil:
		d.finish(n, fmt.Errorf("drain node %s: %w", n.name, ErrBusy))
		return
	case node == nil:
		d.finish(n, fmt.Errorf("drain node %s: %w", n.name, ErrNodeDeleted))
		return
	case d.watcher.Err() != nil:
		d.finish(n, d.watchEnded(n))
		return
	}
	n.uid = node.UID
	if cluster.OutOfService(node) {
		n.outOfService = node
	}
	selection := d.Select(n.name)
	if err := selection.Err(); err != nil {
		d.finish(n, err)
		return
	}
	d.nodes[n.name] = n
	d.touched[n] = true
	d.tell(event.Event{Type: event.NodePhase, Node: n.name, Phase: event.PhaseDraining, Pods: len(selection.Leave)})
	for _, w := range selection.Warnings {
		d.tell(event.Event{Type: event.Warning, Node: n.name, Reason: event.ReasonAllowed, Message: w})
	}
	for _, s := range selection.Skip {
		d.skip(n, s)
	}
	for _, pod := range selection.Leave {
		d.adopt(n, pod)
	}
	d.countDoomed(n)
	d.lossChanged(n, node)
	if t := d.options.Timeout; t > 0 {
		d.alarms.set(n.started.Add(t), func() { d.end(n, &UnfinishedError{Cause: ErrTimeout}) })
	}
}

func (d *Drainer) skip(n *nodeDrain, s Skipped) {
	n.skipped[s.Pod.UID] = !s.Removed
	name := nameOf(s.Pod)
	d.tell(event.Event{Type: event.PodSkipped, Node: n.name, Pod: &name, Reason: s.Reason, Message: s.Message})
}

// adopt makes a pod one of those that have to leave.
func (d *Drainer) adopt(n *nodeDrain, pod *corev1.Pod) {
	p := &podDrain{
		name: nameOf(pod), node: n, pod: pod,
		controllers: d.watcher.Controllers(pod), volumes: d.volumesOf(pod), budgets: d.budgetsOf(pod),
	}
	n.pods[pod.UID], d.pods[pod.UID] = p, p
	if n.expels(p) {
		d.expel(p)
		return
	}
	if critical(pod) {
		p.stage = held
		d.unclear[p] = true
		return
	}
	d.place(p)
}

func (d *Drainer) forget(p *podDrain) {
	d.withdraw(p)
	d.abandon(p)
	uid := types.UID(p.name.UID)
	delete(d.pods, uid)
	delete(p.node.pods, uid)
	delete(d.unclear, p)
}

// cameLate takes in a pod that appeared on a node while it was being drained:
// its controller tolerates the cordon, or somebody bound it by hand.
func (d *Drainer) cameLate(n *nodeDrain, pod *corev1.Pod) {
	if _, known := n.skipped[pod.UID]; known {
		return
	}
	d.touched[n] = true
	n.volumes = nil
	j := d.options.judge(pod, d.clock.Now(), d.facts(pod))
	switch j.fate {
	case skip:
		d.skip(n, Skipped{pod, j.reason, j.message, j.removed})
	case refuse:
		p := &podDrain{name: nameOf(pod), node: n, pod: pod, stage: barred, barredBy: j.message}
		n.pods[pod.UID], d.pods[pod.UID] = p, p
		d.unclear[p] = true
	case leave:
		d.adopt(n, pod)
	}
}

// nodeChanged takes in a change of a node.
func (d *Drainer) nodeChanged(name string) {
	n := d.nodes[name]
	if n == nil {
		return
	}
	switch node := d.watcher.Node(name); {
	case node == nil:
		d.end(n, fmt.Errorf("drain node %s: %w", name, ErrNodeDeleted))
	case node.UID != n.uid:
		d.end(n, fmt.Errorf("drain node %s: %w", name, ErrNodeReplaced))
	default:
		for _, p := range n.pods { // whether its kubelet is alive explains why pods stay
			if p.stage == leaving {
				d.unclear[p] = true
			}
		}
		d.serviceChanged(n, node)
		d.lossChanged(n, node)
	}
}

// lossChanged tells, the moment it is known, that the kubelet of a node that is being
// drained does not answer, or answers again: nothing else will come of a drain whose
// pods nobody ends, however long their grace periods are.
func (d *Drainer) lossChanged(n *nodeDrain, node *corev1.Node) {
	lost := cluster.Lost(node)
	if lost == n.lost {
		return
	}
	n.lost = lost
	e := event.Event{Type: event.Warning, Node: n.name, Message: "its kubelet answers again"}
	waits := 0
	for _, p := range n.pods {
		if p.stage != left {
			waits++
		}
	}
	switch {
	case n.outOfService != nil, !d.options.needsKubelet(), waits == 0:
		return
	case lost:
		e.Message = fmt.Sprintf("is lost: its kubelet does not answer%s. %s will stay Terminating, because nobody is there to end %s",
			silentSince(node), phrase.Count(waits, "pod"), phrase.Plural(waits, "it", "them"))
		e.Hint = "it goes on if the machine comes back; " + lostHint(n.name)
	}
	d.tell(e)
}

// lostHint is the way out for a node that is being drained and was lost meanwhile.
func lostHint(node string) string {
	return "if it is off for certain: end this (Ctrl-C), then refit drain " + node + " --confirm-node-is-off"
}

// settleTouched sees which of the nodes at which something happened are ready
// for what comes next: the critical pods, the volumes, the end.
func (d *Drainer) settleTouched() {
	for _, n := range d.nodesInOrder() {
		if d.touched[n] && !n.ended {
			d.settle(n)
		}
	}
	clear(d.touched)
}

func (d *Drainer) settle(n *nodeDrain) {
	var last []*podDrain
	var late []Refused
	for _, p := range n.inOrder() {
		switch p.stage {
		case left:
		case held:
			last = append(last, p)
		case barred:
			late = append(late, Refused{p.pod, p.barredBy})
		default:
			return
		}
	}
	switch {
	case len(late) > 0:
		d.end(n, &RefusedError{Node: n.name, Refused: late, Late: true})
	case len(last) > 0:
		for _, p := range last {
			d.place(p)
		}
	case d.detached(n):
		d.end(n, nil)
	}
}

// end ends a Drain: with err nil because the node is empty.
func (d *Drainer) end(n *nodeDrain, err error) {
	if n.ended {
		return
	}
	if err != nil {
		n.result.Remaining = d.remaining(n)
	}
	if u := (*UnfinishedError)(nil); errors.As(err, &u) {
		u.Node, u.Remaining = n.name, n.result.Remaining
	}
	n.ended = true
	n.cancel()
	for _, p := range n.inOrder() {
		n.count(p)
		d.forget(p)
	}
	delete(d.nodes, n.name)
	delete(d.touched, n)
	d.finish(n, err)
}

func (n *nodeDrain) count(p *podDrain) {
	if p.evictedAt.IsZero() {
		return
	}
	n.result.Evicted++
	if p.stage == left {
		n.result.Gone++
	}
	n.result.EvictedPods = append(n.result.EvictedPods, EvictedPod{Pod: p.name, Controllers: p.controllers, Gone: p.stage == left})
}

// finish hands the result to whoever waits for it.
func (d *Drainer) finish(n *nodeDrain, err error) {
	n.ended = true
	n.cancel()
	r := &n.result
	r.Node, r.Elapsed = n.name, d.clock.Since(n.started)
	r.Blocked = len(r.Remaining)
	for _, stays := range n.skipped {
		if stays {
			r.Skipped++
		}
	}
	n.err = err
	if err == nil {
		counts := r.Counts
		d.tell(event.Event{Type: event.NodeDrained, Node: n.name, Counts: &counts, Seconds: r.Elapsed.Seconds()})
	}
	close(n.done)
}

func (n *nodeDrain) inOrder() []*podDrain {
	return slices.SortedFunc(maps.Values(n.pods), comparePods)
}

func comparePods(a, b *podDrain) int {
	return cmp.Or(cmp.Compare(a.node.name, b.node.name), cmp.Compare(a.name.Namespace, b.name.Namespace),
		cmp.Compare(a.name.Name, b.name.Name), cmp.Compare(a.name.UID, b.name.UID))
}

// watchEnded is the error of a Drain that can see no more.
func (d *Drainer) watchEnded(n *nodeDrain) error {
	err := d.watcher.Err()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cluster.ErrStopped) {
		return &UnfinishedError{Node: n.name, Cause: err}
	}
	return fmt.Errorf("drain node %s: the API server refuses to tell what happens: %w", n.name, err)
}
