// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/manifest"
	"refit.dev/refit/served"
)

// Options say how objects are applied.
type Options struct {
	// Force overrules other managers of fields.
	Force bool
	// DryRun asks the API server, which does all but store anything.
	DryRun bool
	// Patience is how long what may pass is tried again: webhooks that do not answer, definitions that are
	// not served yet. It begins anew whenever something has worked.
	Patience time.Duration
	Clock    clock.WithTicker
	Sink     event.Sink
}

// The words of Counts for what was not to be told as an event.Reason.
const (
	failed    = "failed"
	unchecked = "unchecked"
)

// Counts are the objects by what became of them: created, configured, unchanged, failed, and in a dry run
// unchecked, whose namespace or definition is not there yet.
type Counts map[string]int

// applier applies one Prepared import.
type applier struct {
	*Prepared
	Options
	mu     sync.Mutex
	uids   map[manifest.Key]types.UID
	counts Counts
	// lost are namespaces and kinds (as keys without a name) that could not be made.
	lost map[manifest.Key]bool
}

// waiting is an object whose turn comes again, because of what may pass.
type waiting struct {
	*target
	err error
}

// Apply makes the objects. Each is told as an event. An object that cannot be made does not keep others back, but those
// that need it; the error is only about what ended it all, such as the end of ctx.
func (p *Prepared) Apply(ctx context.Context, o Options) (Counts, error) {
	a := &applier{Prepared: p, Options: o, uids: map[manifest.Key]types.UID{}, counts: Counts{}, lost: map[manifest.Key]bool{}}
	for key, there := range p.live {
		a.uids[key] = there.uid
	}
	for i, stage := range p.stages {
		if err := a.stage(ctx, stage); err != nil {
			return a.counts, err
		}
		if o.DryRun || p.Steps[i].Phase != manifest.Definitions {
			continue
		}
		if err := a.awaitDefinitions(ctx, stage); err != nil {
			return a.counts, err
		}
	}
	return a.counts, nil
}

// firstPause and longestPause are between two attempts.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// stage makes the objects of a stage, again and again as long as there is reason to hope.
func (a *applier) stage(ctx context.Context, todo []*target) error {
	pause, since := firstPause, a.Clock.Now()
	for {
		again, err := a.round(ctx, todo)
		if err != nil || len(again) == 0 {
			return err
		}
		if len(again) < len(todo) {
			pause, since = firstPause, a.Clock.Now()
		}
		if a.Clock.Since(since) >= a.Patience {
			for _, w := range again {
				a.fail(w.target, w.err)
			}
			return nil
		}
		todo = nil
		for _, w := range again {
			todo = append(todo, w.target)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted while waiting for %s: %w", again[0].key, context.Cause(ctx))
		case <-a.Clock.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// round tries each object once, and returns those to try again.
func (a *applier) round(ctx context.Context, todo []*target) ([]waiting, error) {
	var again []waiting
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, t := range todo {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			if groupCtx.Err() != nil {
				return context.Cause(groupCtx)
			}
			err := a.one(groupCtx, t)
			switch {
			case err == nil:
			case groupCtx.Err() != nil:
				return fmt.Errorf("interrupted; %s may have been changed: %w", t.key, context.Cause(groupCtx))
			case mayPass(t, err):
				a.mu.Lock()
				again = append(again, waiting{t, err})
				a.mu.Unlock()
			default:
				a.fail(t, err)
			}
			return nil
		})
	}
	err := group.Wait()
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	return again, err
}

// one makes an object, unless what it needs could not be made.
func (a *applier) one(ctx context.Context, t *target) error {
	if why := a.without(t); why != "" {
		return errors.New(why)
	}
	if a.DryRun && a.unaskable(t) {
		a.tell(t, event.ReasonCreated, "not checked: what it needs is not there yet")
		a.count(unchecked)
		return nil
	}
	a.mu.Lock()
	before, there := a.live[t.key]
	a.mu.Unlock()
	var content *unstructured.Unstructured
	if there && !before.ours { // its version will be another one in any case
		var err error
		if content, err = a.read(ctx, t); err != nil {
			return err
		}
	}
	made, err := a.send(ctx, t, content != nil)
	if err != nil {
		return err
	}
	a.mu.Lock()
	if !a.DryRun {
		a.uids[t.key] = made.GetUID()
	}
	a.mu.Unlock()
	did := event.ReasonConfigured
	switch {
	case made.created:
		did = event.ReasonCreated
	case there && before.uid == made.GetUID() && (before.version == made.GetResourceVersion() || content != nil && sameContent(content, made.Unstructured)):
		did = event.ReasonUnchanged
	}
	a.tell(t, did, "")
	a.count(did)
	return nil
}

// read is an object as it is, nil if it is gone.
func (a *applier) read(ctx context.Context, t *target) (*unstructured.Unstructured, error) {
	text, _, err := served.Do(ctx, a.api.Client.Get().AbsPath(t.path()))
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.key, err)
	}
	return u, nil
}

// sameContent compares all of two objects but their versions, who has set what in them, and the status, which is no import's.
func sameContent(a, b *unstructured.Unstructured) bool {
	bare := func(u *unstructured.Unstructured) map[string]any {
		u = u.DeepCopy()
		u.SetResourceVersion("")
		u.SetManagedFields(nil)
		delete(u.Object, "status")
		return u.Object
	}
	return reflect.DeepEqual(bare(a), bare(b))
}

// without says what an object needs that could not be made.
func (a *applier) without(t *target) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ns := t.GetNamespace(); ns != "" && a.lost[namespaceKey(ns)] {
		return "its namespace could not be made"
	}
	if t.defined && a.lost[keyOfKind(t.GroupVersionKind())] {
		return "the definition of its kind could not be made"
	}
	return ""
}

// unaskable tells whether the API server cannot say anything of an object in a dry run, because it would
// have to have made another one before.
func (a *applier) unaskable(t *target) bool {
	if t.defined {
		return true
	}
	_, there := a.live[namespaceKey(t.GetNamespace())]
	return t.GetNamespace() != "" && !there
}

func (a *applier) tell(t *target, did, message string) {
	a.Sink.Emit(event.Event{Time: a.Clock.Now(), Type: event.ObjectApplied, Object: objectOf(t), Reason: did, Message: message})
}

func (a *applier) count(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[what]++
}

// fail tells of an object that could not be made.
func (a *applier) fail(t *target, err error) {
	a.mu.Lock()
	a.counts[failed]++
	if t.key == namespaceKey(t.GetName()) {
		a.lost[t.key] = true
	}
	for gvk := range definedBy(t) {
		a.lost[keyOfKind(gvk)] = true
	}
	a.mu.Unlock()
	a.Sink.Emit(event.Event{Time: a.Clock.Now(), Type: event.ObjectFailed, Object: objectOf(t), Message: err.Error(), Hint: hint.Of(err)})
}

// keyOfKind stands for a kind, among what could not be made.
func keyOfKind(gvk schema.GroupVersionKind) manifest.Key {
	return manifest.Key{Group: gvk.Group, Kind: gvk.Kind}
}

func objectOf(t *target) *event.Object {
	return &event.Object{Group: t.key.Group, Kind: t.key.Kind, Namespace: t.key.Namespace, Name: t.key.Name}
}
