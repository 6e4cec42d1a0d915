// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// AwayError says that a node is drained, and was not seen to be Ready again before the
// waiting for that ended. If it was declared out of service it still is.
type AwayError struct {
	Node string
	// Cause is that of the context, or of the end of the watch.
	Cause error
}

func (e *AwayError) Unwrap() error { return e.Cause }

func (e *AwayError) Error() string {
	return fmt.Sprintf("node %s is drained, and was not seen to be Ready again (%v)", e.Node, e.Cause)
}

// away are those of errs that say that nodes are not back, which no event has told.
func away(errs []error) error {
	var found []error
	for _, err := range errs {
		if e := (*AwayError)(nil); errors.As(err, &e) {
			found = append(found, e)
		}
	}
	return errors.Join(found...)
}

// untilBack waits until a drained node is Ready again, if the options say so. That it is
// deleted or replaced by another one ends it as well: nothing is left to be taken back.
func (o *operation) untilBack(node *corev1.Node) error {
	if !o.options.WaitForReturn || o.options.DryRun != DryRunNone {
		return nil
	}
	news := o.watcher.Subscribe()
	defer news.Close()
	for told := false; ; {
		n := o.watcher.Node(node.Name)
		switch {
		case n == nil, n.UID != node.UID:
			message := "was deleted meanwhile: its machine was not seen to be back"
			if n != nil {
				message = "was replaced by another one of the same name meanwhile, which is not touched"
			}
			o.tell(event.Event{Type: event.Warning, Node: node.Name, Message: message})
			return nil
		case cluster.Ready(n):
			return nil
		}
		if !told {
			o.tell(event.Event{Type: event.NodePhase, Node: node.Name, Phase: event.PhaseReadying, Message: "waits until the machine is back"})
			told = true
		}
		select {
		case <-news.Ready():
			news.Take()
		case <-o.watcher.Done():
			return &AwayError{Node: node.Name, Cause: o.watcher.Err()}
		case <-o.ctx.Done():
			return &AwayError{Node: node.Name, Cause: context.Cause(o.ctx)}
		}
	}
}

// afterLoss takes a node that has come back meanwhile into service again, and
// otherwise says who will. That is also due when the context has ended.
func (o *operation) afterLoss(i int) {
	if !o.options.ConfirmNodeIsOff || o.options.DryRun != DryRunNone {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(o.ctx), undoLimit)
	defer cancel()
	name := o.nodes[i].Name
	node, err := o.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	changed := false
	if err == nil {
		if _, marked := cluster.OutOfServiceMarkOf(node); !marked {
			return
		}
		changed, err = BackInService(ctx, o.client, node)
	}
	e := event.Event{Type: event.Warning, Node: name, Hint: "when it is Ready again: refit uncordon " + name + " takes the taint off, too; refit drain and refit maintain do as well"}
	switch {
	case changed:
		e = event.Event{Type: event.NodeInService, Node: name, Message: "is Ready again: refit's taint " + corev1.TaintNodeOutOfService + " is removed"}
	case err != nil:
		e.Message = "may have kept the taint " + corev1.TaintNodeOutOfService + ": " + err.Error()
	default:
		e.Message = "keeps the taint " + corev1.TaintNodeOutOfService + " until it is back: nothing can run there before that"
	}
	o.tell(e)
	if changed && o.options.WaitForReturn {
		o.tell(event.Event{Type: event.NodePhase, Node: name, Phase: event.PhaseDone})
	}
}
