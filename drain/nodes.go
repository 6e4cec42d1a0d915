// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

// undoLimit is what taking back a cordon may take once the drain was
// interrupted: somebody waits for the program to end.
const undoLimit = 10 * time.Second

// Nodes is the whole of `refit drain`: look at all nodes, cordon all of them, so
// that no pod moves from one to the next, drain them at the same time, and
// uncordon again those that could not be drained - if it was this call that
// cordoned them, and unless keepCordon. mark says under which name.
//
// If the pods of one node may not be evicted under the options, or one is lost so
// that they could not end, none is touched. Lost nodes whose machines are off, as
// somebody has to have said, are tainted as out of service; the taint stays until
// refit cordons or uncordons a node that is Ready again, unless Options.WaitForReturn.
// It tells its sink everything, and ends with the Summary that it returns; the
// error is nil if every node was drained.
func (d *Drainer) Nodes(ctx context.Context, nodes []*corev1.Node, mark string, keepCordon bool) (event.Event, error) {
	o := &operation{
		Drainer: d, ctx: ctx, nodes: nodes, keepCordon: keepCordon, started: d.clock.Now(),
		mark: cluster.Mark{Run: mark, Since: d.clock.Now()}, results: make([]Result, len(nodes)), errs: make([]error, len(nodes)), cordoned: make([]bool, len(nodes)),
		renewed: make([]time.Time, len(nodes)),
	}
	names := make([]string, 0, len(nodes))
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	d.tell(event.Event{Type: event.RunStarted, Nodes: names})
	if err := o.refusals(); err != nil {
		return o.summary(err, err), err
	}
	if err := o.cordonAll(); err != nil {
		o.each(func(i int) { o.undo(i) })
		return o.summary(err, err), err
	}
	o.each(o.drainOne)
	err := errors.Join(o.errs...)
	return o.summary(err, away(o.errs)), err
}

// operation is one call of Nodes. Slices have an entry for each node.
type operation struct {
	*Drainer
	ctx        context.Context //nolint:containedctx // of the call
	nodes      []*corev1.Node
	mark       cluster.Mark
	keepCordon bool
	started    time.Time

	cordoned []bool      // by this call, for all that is known
	renewed  []time.Time // when kubelets that are said to be off had renewed their leases last
	results  []Result
	errs     []error
}

// each does f for every node at the same time.
func (o *operation) each(f func(i int)) {
	var group errgroup.Group
	for i := range o.nodes {
		group.Go(func() error {
			f(i)
			return nil
		})
	}
	_ = group.Wait()
}

// refusals are the reasons for which nothing is to be touched at all.
func (o *operation) refusals() error {
	var errs []error
	for _, n := range o.nodes {
		selection := o.Select(n.Name)
		errs = append(errs, selection.Err(), o.options.Impasse(n, len(selection.Leave)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	o.each(func(i int) { o.errs[i] = o.listen(i) })
	return errors.Join(o.errs...)
}

func (o *operation) cordonAll() error {
	o.each(func(i int) { o.errs[i] = o.cordonOne(i) })
	return errors.Join(o.errs...)
}

func (o *operation) cordonOne(i int) error {
	node := o.nodes[i]
	var changed bool
	var err error
	switch o.options.DryRun {
	case DryRunClient:
		changed = !node.Spec.Unschedulable
	case DryRunServer:
		changed, err = TryCordon(o.ctx, o.client, node, o.mark)
	case DryRunNone:
		changed, err = Cordon(o.ctx, o.client, node, o.mark)
		o.cordoned[i] = changed || unanswered(err)
	}
	if err != nil {
		if cause := context.Cause(o.ctx); cause != nil {
			return &UnfinishedError{Node: node.Name, Cause: cause}
		}
		return hint.Wrap(err, "refit needs to get and patch nodes")
	}
	if changed {
		o.tell(event.Event{Type: event.NodeCordoned, Node: node.Name})
	}
	if o.options.DryRun != DryRunClient {
		o.tellInService(node)
	}
	return nil
}

// tellInService says that a node lost refit's out-of-service taint, which was on it
// before it was cordoned or uncordoned.
func (o *operation) tellInService(before *corev1.Node) {
	if before != nil && StaleOutOfService(before) {
		o.tell(event.Event{Type: event.NodeInService, Node: before.Name, Message: "is Ready again: refit's taint " + corev1.TaintNodeOutOfService + " is removed"})
	}
}

// unanswered tells whether err leaves open if a write was done: the request was
// cut off, or its answer was. Undoing looks at the mark, so it does no harm.
func unanswered(err error) bool {
	if err == nil || errors.Is(err, ErrNodeDeleted) || errors.Is(err, ErrNodeReplaced) {
		return false
	}
	var status apierrors.APIStatus
	return !errors.As(err, &status) || status.Status().Code >= http.StatusInternalServerError
}

// drainOne drains a node, and uncordons it if that did not work out.
func (o *operation) drainOne(i int) {
	node := o.nodes[i]
	if o.cordoned[i] {
		o.note(i, NoteCordoned, "cordoned to be drained")
	}
	if doomed, err := o.giveUp(i); err != nil {
		o.errs[i] = err
	} else {
		o.results[i], o.errs[i] = o.drain(o.ctx, node.Name, doomed)
	}
	defer o.afterLoss(i)
	err := o.errs[i]
	if err == nil {
		o.note(i, NoteDrained, fmt.Sprintf("%d pods evicted in %s", o.results[i].Evicted, o.results[i].Elapsed.Round(100*time.Millisecond)))
		o.errs[i] = o.untilBack(node)
		o.tellUncordoned(i)
		return
	}
	if u := (*UnfinishedError)(nil); errors.As(err, &u) {
		o.note(i, NoteBlocked, u.Error())
	}
	state := "it stays cordoned"
	if o.undo(i) {
		state = "it is uncordoned again"
	}
	if errors.Is(err, ErrNodeDeleted) || errors.Is(err, ErrNodeReplaced) {
		state = "there is nothing more to do for it"
	}
	o.tell(event.Event{Type: event.NodeFailed, Node: node.Name, Message: shortly(err) + "; " + state, Hint: hint.Of(err)})
}

// tellUncordoned warns of a drained node that is schedulable: somebody, perhaps another
// drain that was given up, took back the cordon.
func (o *operation) tellUncordoned(i int) {
	node := o.nodes[i]
	if n := o.watcher.Node(node.Name); o.options.DryRun != DryRunNone || n == nil || n.Spec.Unschedulable {
		return
	}
	// The watch may not have brought this drain's own cordon yet.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(o.ctx), undoLimit)
	defer cancel()
	n, err := o.client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
	if err != nil || n.UID != node.UID || n.Spec.Unschedulable {
		return
	}
	o.tell(event.Event{
		Type: event.Warning, Node: n.Name, Message: "is drained, and was uncordoned by somebody else meanwhile: new pods may be started there",
		Hint: "refit cordon " + n.Name + ", if it is to stay empty",
	})
}

// shortly leaves out what the summary lists.
func shortly(err error) string {
	if u := (*UnfinishedError)(nil); errors.As(err, &u) {
		return fmt.Sprintf("not drained (%v)", u.Cause)
	}
	return err.Error()
}

// undo uncordons a node that this call cordoned, also when its context has ended.
// It tells whether the node is schedulable again.
func (o *operation) undo(i int) bool {
	if !o.cordoned[i] || o.keepCordon {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(o.ctx), undoLimit)
	defer cancel()
	name := o.nodes[i].Name
	before := o.watcher.Node(name)
	changed, err := Uncordon(ctx, o.client, name, o.mark.Run)
	if err != nil {
		o.tell(event.Event{
			Type: event.Warning, Node: name, Message: "stays cordoned: " + err.Error(),
			Hint: "once the API server answers: refit uncordon " + name,
		})
		return false
	}
	if changed {
		o.tell(event.Event{Type: event.NodeUncordoned, Node: name})
		o.note(i, NoteUncordoned, "uncordoned again, because it could not be drained")
		o.tellInService(before)
	}
	return changed
}

func (o *operation) note(i int, reason, message string) {
	if o.options.DryRun == DryRunNone {
		Note(context.WithoutCancel(o.ctx), o.client, o.clock.Now(), o.nodes[i], reason, message)
	}
}

// summary ends the story with err, the outcome of the whole. untold is what no
// other event has told.
func (o *operation) summary(err, untold error) event.Event {
	var counts event.Counts
	var remaining []event.Remaining
	for _, r := range o.results {
		counts.Evicted += r.Evicted
		counts.Gone += r.Gone
		counts.Skipped += r.Skipped
		counts.Blocked += r.Blocked
		remaining = append(remaining, r.Remaining...)
	}
	slices.SortFunc(remaining, compareRemaining)
	e := event.Event{
		Type: event.Summary, Result: o.result(err, counts), Counts: &counts, Remaining: remaining,
		Seconds: o.clock.Since(o.started).Seconds(),
	}
	if untold != nil {
		e.Message, e.Hint = strings.ReplaceAll(untold.Error(), "\n", "; "), hint.Of(untold)
	}
	o.tell(e)
	return e
}

// result says how the whole ended: as the worst of its nodes.
func (o *operation) result(err error, counts event.Counts) event.Result {
	if err == nil {
		if o.options.DryRun != DryRunNone && counts.Blocked > 0 {
			return event.ResultBlocked
		}
		return event.ResultDone
	}
	if context.Cause(o.ctx) != nil {
		return event.ResultUnfinished
	}
	worst := event.ResultBlocked
	for _, err := range leaves(err) {
		var unfinished *UnfinishedError
		var refused *RefusedError
		var lost *LostError
		switch {
		case errors.As(err, &unfinished):
			worst = event.ResultUnfinished
		case !errors.As(err, &refused) && !errors.As(err, &lost):
			return event.ResultFailed
		}
	}
	if worst == event.ResultBlocked && counts.Evicted > 0 {
		return event.ResultUnfinished // something was changed, and the rest waits for a decision
	}
	return worst
}

// leaves are the errors that were joined.
func leaves(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
