// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/event"
	"refit.dev/refit/probe"
)

// outageExpected is how long the API server may be away while its machine is worked on:
// kubeadm waits five minutes for each static pod.
const outageExpected = 10 * time.Minute

// turn is what goes with the turn of a control plane: as long as its machine is worked
// on the API server may be away, so the lock is made to last, and it is measured for how
// long nothing was answered. quiet ends both if end was not reached.
func (u upgrading) turn(w *worker) (begin, end act, quiet func()) {
	var stop func()
	begin = func(ctx context.Context) error {
		err := retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) error {
			return w.lock.lasting(ctx, outageExpected)
		})
		if err != nil {
			return err
		}
		if u.ask != nil {
			stop = u.measure(ctx, w)
		}
		return nil
	}
	quiet = func() {
		if stop != nil {
			stop()
			stop = nil
		}
	}
	end = func(ctx context.Context) error {
		quiet()
		return retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) error {
			return w.lock.lasting(ctx, lockDuration)
		})
	}
	return begin, end, quiet
}

// measure watches whether the API server answers, until stop is called.
func (u upgrading) measure(ctx context.Context, w *worker) (stop func()) {
	return probe.Probe{Ask: u.ask, Clock: w.clock}.Start(ctx, w.tellOutage)
}

// tellOutage tells of an outage of the API server that began, or is over.
func (w *worker) tellOutage(o probe.Outage) {
	if !o.End.IsZero() {
		w.mu.Lock()
		w.outages = append(w.outages, o.End.Sub(o.Begin))
		w.mu.Unlock()
	}
	w.sink.Emit(OutageEvent(w.spec.Run, w.target.Name, o))
}

// OutageEvent is what is told of an outage of the API server that began, or is over. node
// is the one that is worked on meanwhile; "" for several.
func OutageEvent(run, node string, o probe.Outage) event.Event {
	if o.End.IsZero() {
		return event.Event{Time: o.Begin, Run: run, Type: event.APILost, Node: node, Message: "the API server does not answer"}
	}
	took := o.End.Sub(o.Begin)
	return event.Event{
		Time: o.End, Run: run, Type: event.APIBack, Node: node, Seconds: took.Seconds(),
		Message: fmt.Sprintf("the API server answers again, after %s", took.Round(100*time.Millisecond)),
	}
}

// awaitEtcd waits until every member of an etcd that runs in static pods is well: its pod
// is Ready, and it says of itself that it is. Then one of three may be taken away. An etcd
// of other machines shows itself only in the API server's answers.
func (u upgrading) awaitEtcd(w *worker) act {
	return func(ctx context.Context) error {
		planes := w.etcdPlanes()
		var topics []topic
		for _, name := range planes {
			topics = append(topics, podsTopic(name), nodeTopic(name))
		}
		last := ""
		err := w.lookout.await(ctx, w.spec.Timeouts.Ready.Duration, append(topics, anything()), func() (bool, error) {
			last = w.etcdMissing(planes)
			return last == "", nil
		})
		if err == nil {
			err = w.persist(ctx, func() (bool, error) {
				problems, err := u.machines.Members(ctx, w.spec.Run, w.seenNodes(planes))
				if err == nil && len(problems) > 0 {
					err = problemsError(problems)
				}
				last = text(err)
				return err == nil, err
			})
		}
		if errors.Is(err, errTimeout) {
			return w.timeout("etcd is not whole", last, w.spec.Timeouts.Ready.Duration,
				"no control plane is touched while a member of etcd is missing, or not well; look at its pod and at the machine, then refit runs resume "+w.spec.Run)
		}
		return err
	}
}

// stepAside has another member of etcd lead before the one of this machine is taken away.
// Where that is not possible the members elect another one, after a second without.
func (u upgrading) stepAside(w *worker) act {
	return func(ctx context.Context) error {
		node := w.cluster.Seen(w.target.Name)
		if node == nil || w.spec.Upgrade.ExternalEtcd || len(w.etcdPlanes()) < 2 {
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		to, err := u.machines.StepAside(limited, w.spec.Run, node)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			w.emit(event.Event{
				Type: event.Warning, Node: w.target.Name,
				Message: fmt.Sprintf("etcd's leadership could not be handed over: %v; should this member lead, the others elect another one when it ends", err),
			})
		case to != "":
			w.phase(event.PhasePreparing, "etcd is led by "+to+" from now on")
		}
		return nil
	}
}

// etcdPlanes returns the names of all nodes that may have a member of etcd, sorted, whether this run works on them or not: of
// an upgrade that was given up and begun anew some are done already.
func (w *worker) etcdPlanes() []string {
	names := w.spec.Upgrade.controlPlanes()
	for _, node := range w.controlPlane() {
		names = append(names, node.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// seenNodes returns those of the nodes that there are.
func (w *worker) seenNodes(names []string) []*corev1.Node {
	var nodes []*corev1.Node
	for _, name := range names {
		if node := w.cluster.Seen(name); node != nil {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// etcdMissing says which member of etcd is not Ready, or "".
func (w *worker) etcdMissing(planes []string) string {
	for _, name := range planes {
		node := w.cluster.Around(name)
		if node == nil {
			continue // gone, and its member with it or not: kubeadm will tell
		}
		for _, pod := range node.Pods {
			if isEtcd(pod.Pod) && !budget.Healthy(pod.Pod) {
				return fmt.Sprintf("its member on node %s is not Ready", name)
			}
		}
	}
	return ""
}

// isEtcd tells whether a pod is the mirror of one of kubeadm's etcd members, by the
// labels that kubeadm gives its static pods.
func isEtcd(pod *corev1.Pod) bool {
	return pod.Namespace == "kube-system" && pod.Labels["tier"] == "control-plane" && pod.Labels["component"] == "etcd"
}
