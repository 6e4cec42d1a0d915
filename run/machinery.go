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

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/provider"
)

// create sees to it that the new machine is there, as the provider lists it. Its key is on disk
// before it is asked for; who finds the record of that, and not that of its end, looks first.
func (r replacing) create(ctx context.Context) error {
	if r.status.Steps[StepCreate] == Done {
		return nil
	}
	key := r.spec.keyOf(r.target.Name)
	intent := Record{Machine: &Made{Machine: provider.Machine{Key: key}}, Reason: "a machine in its place, under the key " + key}
	return r.step(ctx, StepCreate, intent, func() (Record, error) {
		m, err := r.made(ctx, key)
		if err != nil {
			return Record{}, r.providerFailed(ctx, StepCreate, fmt.Sprintf("no machine could be made for it (%s)", key), err)
		}
		return Record{Machine: &Made{Machine: m}}, nil
	})
}

// made asks for the machine until it is listed. A command of an earlier process that is about it is
// waited for first: what it has made would not be listed yet.
func (r replacing) made(ctx context.Context, key string) (provider.Machine, error) {
	var m provider.Machine
	if err := r.with.provider.Await(ctx, key); err != nil {
		return m, err
	}
	asked := false
	var join *provider.Join // of the first order, for those that follow it
	last, err := r.until(ctx, r.spec.Timeouts.Ready.Duration, nil, func() (string, error) {
		list, err := r.list(ctx)
		if err != nil {
			return text(err), passing(err)
		}
		if found, there := provider.ByKey(list, key); there {
			m = found
			return "", r.credible(m)
		}
		if asked {
			return "the provider has taken the order, and does not list the machine", nil
		}
		if old := r.spec.Upgrade.Replace.Machines[r.target.Name]; !slices.Contains(list, old) {
			if now, there := provider.ByID(list, old.ID); !there || now.Node != old.Node || now.Deleting {
				return "", r.lie("it does not list %s any more as it did", old)
			}
		}
		err = r.order(ctx, key, &join)
		asked = err == nil
		// Whatever it says, the machine may be there or not.
		if list, looked := r.list(ctx); looked == nil {
			if found, there := provider.ByKey(list, key); there {
				if m = found; err != nil {
					r.emit(event.Event{Type: event.Warning, Node: r.target.Name, Message: fmt.Sprintf("the machine is there, although: %v", err)})
				}
				return "", r.credible(m)
			}
		}
		if asked {
			return "it is not listed yet", nil
		}
		return text(err), passing(err)
	})
	if errors.Is(err, errTimeout) {
		err = fmt.Errorf("%s after %s", last, r.spec.Timeouts.Ready.Duration)
	}
	return m, err
}

// order asks the provider for the machine, once the old node was looked at. It invites the machine, unless it was
// in an order before: the invitation may be in its hands already.
func (r replacing) order(ctx context.Context, key string, join **provider.Join) error {
	node, err := r.recheck(ctx)
	if err != nil {
		return err
	}
	like := likenessOf(node)
	o := provider.Order{
		Run: r.spec.Run, Key: key, Version: r.stage.Version, Like: r.spec.Upgrade.Replace.Machines[r.target.Name],
		Labels: like.labels, Taints: like.taintTexts(),
	}
	config := r.spec.Upgrade.Replace.Provider
	if config.Join == provider.JoinKubeadm {
		// As long as an order takes, and the machine to join; and orders may be repeated for as long again.
		lasting := time.Duration(config.Create.Seconds*float64(time.Second)) + r.spec.Timeouts.Ready.Duration
		if *join == nil || (*join).Expires.Before(r.clock.Now().Add(lasting)) {
			err := r.call(ctx, func(ctx context.Context) (err error) {
				*join, err = r.with.roster.invite(ctx, key, lasting+r.spec.Timeouts.Ready.Duration)
				return err
			})
			if err != nil {
				return err
			}
		}
		o.Join = *join
	}
	// As with a command: it is not left in the middle of something.
	_, err = r.with.provider.Create(context.WithoutCancel(ctx), o)
	return err
}

// dispose removes the old machine, whose Node is gone.
func (r replacing) dispose(ctx context.Context) error {
	if r.status.Steps[StepDispose] == Done {
		return nil
	}
	old := r.spec.Upgrade.Replace.Machines[r.target.Name]
	return r.step(ctx, StepDispose, Record{Reason: old.String()}, func() (Record, error) {
		if err := r.stayedAway(ctx, old); err != nil {
			return Record{}, err
		}
		if err := removeMachine(ctx, r, old); err != nil {
			return Record{}, r.providerFailed(ctx, StepDispose, old.String()+" could not be removed", err)
		}
		return Record{}, nil
	})
}

// stayedAway fails if the Node of the old machine is there again, as when its kubelet was started
// anew: then it is not cordoned any more, and may have pods.
func (r replacing) stayedAway(ctx context.Context, old provider.Machine) error {
	var back *corev1.Node
	err := r.call(ctx, func(ctx context.Context) (err error) {
		back, err = r.cluster.Node(ctx, r.target.Name)
		return err
	})
	if err != nil || back == nil {
		return err
	}
	return &failure{
		reason: fmt.Sprintf("node %s has registered itself again, and may have pods: %s was not removed", r.target.Name, old),
		hint:   fmt.Sprintf("refit drain %[1]s, kubectl delete node %[1]s, then refit runs resume %[2]s", r.target.Name, r.spec.Run),
	}
}

// removeMachine has a machine removed, unless it is gone, and waits until it is not listed any more.
func removeMachine(ctx context.Context, r replacing, m provider.Machine) error {
	asked := false
	last, err := r.until(ctx, r.spec.Timeouts.Ready.Duration, nil, func() (string, error) {
		list, err := r.list(ctx)
		if err != nil {
			return text(err), passing(err)
		}
		now, there := provider.ByID(list, m.ID)
		switch {
		case !there:
			return "", r.complete(list)
		case now.Node != m.Node && now.Node != "" && m.Node != "":
			return "", r.lie("%s is node %s now", m, now.Node)
		case now.Deleting, asked:
			return "the provider still lists it", nil
		}
		if err := r.call(ctx, r.lock.check); err != nil {
			return "", err
		}
		err = r.with.provider.Delete(context.WithoutCancel(ctx), r.spec.Run, m)
		asked = err == nil
		if list, looked := r.list(ctx); looked == nil {
			if _, there := provider.ByID(list, m.ID); !there && r.complete(list) == nil {
				if err != nil {
					r.emit(event.Event{Type: event.Warning, Node: r.target.Name, Message: fmt.Sprintf("the machine is gone, although: %v", err)})
				}
				return "", nil
			}
		}
		if asked {
			return "the provider still lists it", nil
		}
		return text(err), passing(err)
	})
	if errors.Is(err, errTimeout) {
		err = fmt.Errorf("%s after %s", last, r.spec.Timeouts.Ready.Duration)
	}
	return err
}

// complete fails if a list lacks the machine that has come in the place of the old one, and is in service: one of another region or
// project, or cut short, does not tell either that the old one is gone.
func (r replacing) complete(list []provider.Machine) error {
	if own := r.status.Machine; own != nil {
		if _, there := provider.ByID(list, own.ID); !there {
			return r.lie("it does not list %s, which is in service", own.Machine)
		}
	}
	return nil
}

// list asks the provider, and does not let a Ctrl-C end its command in the middle.
func (r replacing) list(ctx context.Context) ([]provider.Machine, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	list, err := r.with.provider.List(context.WithoutCancel(ctx))
	if err == nil {
		err = provider.CheckList(list)
	}
	return list, err
}

// passing is nil for an error that may pass, by what the provider says of it.
func passing(err error) error {
	if _, temporary := errors.AsType[*provider.TemporaryError](err); temporary {
		return nil
	}
	return err
}

// credible says why a machine cannot be the one that was asked for: it was there before, or is
// another node's.
func (r replacing) credible(m provider.Machine) error {
	replace := r.spec.Upgrade.Replace
	for node, old := range replace.Machines {
		if old.ID == m.ID {
			return r.lie("what it calls the new machine %s is that of node %s", m.ID, node)
		}
	}
	if _, before := slices.BinarySearch(replace.Nodes, m.Node); before {
		return r.lie("it says that the new machine %s is node %s, which was there before", m.ID, m.Node)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, n := range r.engine.status.Nodes {
		if n.Machine == nil || name == r.target.Name {
			continue
		}
		if n.Machine.ID == m.ID || n.Machine.Node == m.Node && m.Node != "" {
			return r.lie("it says of the new machine %s (node %q) what it has said of the one for node %s", m.ID, m.Node, name)
		}
	}
	return nil
}

// lie is the failure of a provider that says what cannot be.
func (r replacing) lie(format string, args ...any) error {
	return &provider.BadAnswerError{Err: hint.Wrap(fmt.Errorf(format, args...),
		"compare what the provider's list says with its machines; nothing more is made or removed; then refit runs resume %s", r.spec.Run)}
}

// providerFailed ends the node, with what was recorded before.
func (r replacing) providerFailed(ctx context.Context, step Step, what string, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) || aboutRun(err) {
		return err
	}
	if err := r.record(Record{Kind: KindStep, Node: r.target.Name, Step: step, State: Lost, Reason: err.Error()}); err != nil {
		return err
	}
	advice := hint.Of(err)
	if advice == "" {
		advice = "see what the provider says; refit runs resume " + r.spec.Run + " looks at its list first, and then tries again"
	}
	where := "its Node is gone, and " + r.status.Machine.Node + " is in its place"
	if step == StepCreate {
		where = "the node was not touched and still serves"
	}
	return &failure{reason: fmt.Sprintf("%s: %v; %s", what, err, where), hint: advice}
}

// aboutRun tells of an error that is about the run, or about the old node, and not about the provider.
func aboutRun(err error) bool {
	left, away, no, journal := (*gone)(nil), (*unreachableError)(nil), (*deniedError)(nil), (*JournalError)(nil)
	return errors.As(err, &left) || errors.As(err, &away) || errors.As(err, &no) || errors.As(err, &journal) || errors.Is(err, errLockLost)
}
