// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// engine takes the nodes of one run through their maintenance, in one process.
type engine struct {
	spec    *Spec
	log     Log
	cluster Cluster
	work    work
	lock    lock
	clock   clock.WithTicker
	sink    event.Sink
	unknown UnknownCommand
	tally   *tally // has to hear what the drains tell
	picture *picture
	lookout *lookout

	proof   string // what was found when all nodes were finished
	served  string // how the Services answered that were asked meanwhile
	refused string // what to do about it if the run must not begin: it was found before anything was touched
	entered int    // the number of the stage that was told last, 1 for the first

	stop context.CancelCauseFunc // ends the run in order, with the reason

	mu        sync.Mutex // guards what follows
	status    *Status
	counts    event.Counts
	remaining []event.Remaining
	outages   []time.Duration // of the API server
}

// run works until every node is finished, or none may be started any more, or
// ctx ends. Then no node is started, those at work stop at the next point from
// which they can be carried on, and it returns when they have.
func (e *engine) run(ctx context.Context) Outcome {
	begun := e.clock.Now()
	ctx, e.stop = context.WithCancelCause(ctx)
	defer e.stop(nil)

	changes := e.cluster.Subscribe()
	defer changes.Close()
	e.picture, e.lookout = newPicture(e.cluster, e.spec, e.clock), newLookout(e.clock)
	e.tally.onChange(func(uid types.UID) { e.lookout.tell(workloadTopic(uid)) })
	var background sync.WaitGroup
	watching, done := context.WithCancel(context.WithoutCancel(ctx))
	defer background.Wait()
	defer done()
	background.Go(func() { e.follow(watching, changes) })
	background.Go(func() { e.picture.renew(watching) })
	background.Go(func() { e.guardRun(watching) })

	names := make([]string, len(e.spec.Nodes))
	for i, n := range e.spec.Nodes {
		names[i] = n.Name
	}
	e.emit(event.Event{Type: event.RunStarted, Nodes: names})
	e.tellFinished()

	steering := e.steer(watching)
	probed := e.probeServices(watching)
	reason := e.schedule(ctx, steering.begin)
	e.served = probed()
	untidy := e.unsteer(ctx, steering)
	if e.spec.Upgrade != nil && reason == "" && e.left() == 0 {
		var wrong []string
		if e.proof, wrong = e.prove(ctx); len(wrong) > 0 {
			reason = "not every node is at " + e.spec.Upgrade.To + ": " + few(wrong)
		}
	}
	return e.close(ctx, reason, untidy, e.clock.Since(begun))
}

// guardRun stops the run when its foundations give way.
func (e *engine) guardRun(ctx context.Context) {
	select {
	case <-e.cluster.Done():
		e.stop(fmt.Errorf("the cluster cannot be watched any more: %w", e.cluster.Err()))
	case <-e.lock.gone():
		e.stop(errLockLost)
	case <-ctx.Done():
	}
}

// schedule starts nodes as slots get free and waits for them. It returns when
// none is at work and no further one can be started: with the reason, if that
// is not because all are finished. It calls begin before it starts nodes.
func (e *engine) schedule(ctx context.Context, begin func()) (reason string) {
	active := map[string]bool{}
	finished := make(chan string)
	stopping := false
	var stalled stall
	defer func() { stalled.over() }()
	for {
		var d Decision
		begun := e.clock.Now()
		if len(active) == 0 && ctx.Err() == nil {
			if why := e.advance(ctx); why != "" {
				return why
			}
		}
		if ctx.Err() != nil {
			if !stopping {
				stopping = true
				e.tellInterruption(active)
			}
		} else {
			d = Next(e.picture.view(), e.spec, e.progress(active))
			for _, gone := range d.Gone {
				e.skip(ctx, gone)
			}
			if len(d.Start) > 0 {
				begin()
			}
			for _, name := range d.Start {
				active[name] = true
				go func() {
					e.node(ctx, name)
					finished <- name
				}()
			}
		}
		if len(active) > 0 {
			stalled.over()
		} else {
			switch left := e.left(); {
			case left == 0:
				return ""
			case ctx.Err() != nil:
				return stopReason(ctx)
			case d.Stop != "":
				return d.Stop
			case len(d.Held) == left:
				return "nodes that are not this run's to touch: " + listReasons(d.Held)
			}
			stalled.begin(e.clock, e.spec.Timeouts.Stall.Duration)
		}
		done := ctx.Done()
		if stopping {
			done = nil // known already
		}
		// A node that is finished is followed by the next at once. Other news may
		// come in thousands: those wait a moment, to be looked at together.
		var news chan struct{}
		rest := e.clock.NewTimer(restAfter(e.clock.Since(begun)))
		for decide := false; !decide; {
			select {
			case <-rest.C():
				news = e.picture.news
				continue
			case name := <-finished:
				delete(active, name)
			case <-news:
			case <-stalled.notable():
				e.emit(event.Event{Type: event.Warning, Message: whyNone(d), Hint: stallHint(d)})
				continue
			case <-stalled.exceeded():
				rest.Stop()
				return fmt.Sprintf("%s; waited for %s", whyNone(d), e.spec.Timeouts.Stall.Duration)
			case <-done:
			}
			decide = true
		}
		rest.Stop()
	}
}

// stallHint says what can be done about a run that cannot go on.
func stallHint(d Decision) string {
	if len(d.Out) >= d.Slots {
		return "the run goes on as soon as one of them is back (refit uncordon NODE, if it may be); Ctrl-C stops it"
	}
	return "the run goes on as soon as that changes; Ctrl-C stops it"
}

// whyNone says why no node can be started.
func whyNone(d Decision) string {
	if len(d.Out) >= d.Slots || len(d.Waits) == 0 {
		return fmt.Sprintf("no node can be started: %d may be out at once, and %s %s out: %s",
			d.Slots, phrase.Count(len(d.Out), "node"), phrase.Plural(len(d.Out), "is", "are"), listReasons(d.Out))
	}
	return "no node can be started: " + listReasons(d.Waits)
}

func listReasons(list []NodeReason) string {
	texts := make([]string, len(list))
	for i, r := range list {
		texts[i] = r.Node + " (" + r.Reason + ")"
	}
	return few(texts)
}

// left counts the nodes to which something is still to be done.
func (e *engine) left() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status.Count(Waiting) + e.status.Count(Begun)
}

// record puts r on disk and then into the status. An error means that what r
// announces must not be done, and that the run stops.
func (e *engine) record(r Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.log.Append(r); err != nil {
		e.stop(err)
		return err
	}
	r.Time = e.clock.Now().UTC()
	e.status.add(r)
	if r.Kind == KindStep && (r.Step == StepDrain || r.Step == StepRetreat) && r.State == Done {
		e.tally.recorded(r.Node, r.Evicted) // at once: no decision counts them twice
	}
	return nil
}

func (e *engine) emit(ev event.Event) {
	ev.Time, ev.Run = e.clock.Now(), e.spec.Run
	e.sink.Emit(ev)
}

// tellFinished brings whoever listens up to date with what earlier processes did.
func (e *engine) tellFinished() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, target := range e.spec.Nodes {
		if n := e.status.Nodes[target.Name]; n.Standing == Maintained {
			e.emit(event.Event{Type: event.NodePhase, Node: target.Name, Phase: event.PhaseDone, Message: "by an earlier process of this run"})
		}
	}
}

// tellInterruption says, when the run is to stop, what is waited for. active are the nodes at work.
func (e *engine) tellInterruption(active map[string]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var commands []string
	for _, target := range e.spec.Nodes {
		if n := e.status.Nodes[target.Name]; active[target.Name] && n.Steps[n.Step] == Intent && uninterrupted(n.Step) {
			commands = append(commands, target.Name)
		}
	}
	if len(commands) > 0 {
		e.emit(event.Event{
			Type:    event.Warning,
			Message: "stopping: no further node is started; waiting for the command to end for " + few(commands),
			Hint:    "a second Ctrl-C ends refit at once; then nobody knows how far the command got",
		})
	}
}

// uninterrupted tells whether a step is waited for when the run is to stop.
func uninterrupted(step Step) bool {
	switch step {
	case StepCordon, StepSurge, StepDrain, StepReboot, StepReady, StepUncordon, StepRecover, StepSoak, StepRetreat, StepVerify, StepJoin, StepDepart:
		return false
	}
	return true
}

// skip leaves out a node that is gone.
func (e *engine) skip(ctx context.Context, gone NodeReason) {
	if e.record(Record{Kind: KindNodeSkipped, Node: gone.Node, Reason: gone.Reason, Replaced: gone.Reason == reasonReplaced}) == nil {
		e.emit(event.Event{Type: event.Warning, Node: gone.Node, Message: gone.Reason + "; the run goes on without it"})
		e.leftOver(ctx, gone.Node)
	}
}
