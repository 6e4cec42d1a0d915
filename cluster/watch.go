// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// Watcher keeps a cluster's objects fresh with informers. Its methods may be
// called from any goroutine, and what they return is shared: it must not be
// changed. It is also trimmed, so that it must not be sent back in an update.
type Watcher struct {
	options options
	server  server
	watched []*watched
	limits  limits

	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards what follows
	err    error
	ended  bool
	unread []Finding

	subsMu sync.RWMutex
	subs   map[*Subscription]struct{}
}

// watched is a source with its informer.
type watched struct {
	source
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration
	cancel   context.CancelFunc
	dropped  chan struct{} // closed when the source may not be read

	failMu  sync.Mutex // guards what follows
	failure error      // the last one

	// Only the informer's own goroutine uses these.
	refusals    int
	lastRefusal time.Time
}

// Watch returns a Watcher once everything has been read for the first time, or
// an error with a hint when that is refused: it never waits in silence for
// something that will not come. An API server that goes away in the first read
// has half a minute to come back. What is optional and forbidden is left out and
// told in Unread. The Watcher works until ctx ends or Stop is called; that its
// credentials are refused for good in the middle ends it too (see Done and
// Err). An API server that is away for a while does not: client-go comes back
// to it, up to a minute later unless the client has AwaitServer.
func Watch(ctx context.Context, client kubernetes.Interface, opts ...Option) (*Watcher, error) {
	return startWatch(ctx, client, defaultLimits(), opts...)
}

func startWatch(ctx context.Context, client kubernetes.Interface, limits limits, opts ...Option) (*Watcher, error) {
	o := newOptions(opts)
	v, err := greet(ctx, client, o.clock)
	if err != nil {
		return nil, err
	}
	// client-go talks to klog, which writes to stderr; here it talks to slog, and low.
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(quiet{slog.Default().Handler()}))
	ctx, cancel := context.WithCancel(ctx)
	w := &Watcher{
		options: o, server: v, limits: limits,
		cancel: cancel, done: make(chan struct{}), subs: map[*Subscription]struct{}{},
	}
	context.AfterFunc(ctx, func() { w.end(context.Cause(ctx)) })
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim))
	for _, src := range w.options.sources() {
		if err := w.add(factory, src); err != nil {
			cancel()
			return nil, err
		}
	}
	for _, x := range w.watched {
		var one context.Context
		one, x.cancel = context.WithCancel(ctx) //nolint:gosec // cancelled with ctx at the latest
		go x.informer.RunWithContext(one)
	}
	for _, x := range w.watched {
		if err := w.awaitFirst(ctx, client, x); err != nil {
			w.end(err)
			return nil, err
		}
	}
	return w, nil
}

func (w *Watcher) add(factory informers.SharedInformerFactory, src source) error {
	generic, err := factory.ForResource(src.resource)
	if err != nil {
		return fmt.Errorf("watch %s: %w", src.resource.Resource, err)
	}
	x := &watched{source: src, informer: generic.Informer(), cancel: func() {}, dropped: make(chan struct{})}
	if err := x.informer.AddIndexers(indexers(src.kind)); err != nil {
		return fmt.Errorf("watch %s: %w", src.resource.Resource, err)
	}
	err = x.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		w.watchError(ctx, x, err)
	})
	if err != nil {
		return fmt.Errorf("watch %s: %w", src.resource.Resource, err)
	}
	if x.handler, err = x.informer.AddEventHandler(w.handler(src.kind)); err != nil {
		return fmt.Errorf("watch %s: %w", src.resource.Resource, err)
	}
	w.watched = append(w.watched, x)
	return nil
}

// handler turns the informer's news into Changes.
func (w *Watcher) handler(kind Kind) cache.ResourceEventHandler {
	publish := func(obj any, verb Verb) {
		if m, ok := obj.(metav1.Object); ok {
			c := Change{Kind: kind, Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUID(), Verb: verb}
			if ref := controllerRef(m); ref != nil {
				c.Owner = ref.UID
			}
			w.publish(c)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { publish(obj, Added) },
		UpdateFunc: func(old, obj any) {
			was, ok1 := old.(metav1.Object)
			is, ok2 := obj.(metav1.Object)
			switch {
			case !ok1 || !ok2:
			case was.GetUID() != is.GetUID(): // deleted and made again while the watch was away
				publish(old, Deleted)
				publish(obj, Added)
			case was.GetResourceVersion() == "" || was.GetResourceVersion() != is.GetResourceVersion():
				publish(obj, Updated)
			}
		},
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			publish(obj, Deleted)
		},
	}
}

// watchError is called by the informer of x whenever its list or watch ended with err.
func (w *Watcher) watchError(ctx context.Context, x *watched, err error) {
	if ctx.Err() != nil {
		return
	}
	x.failed(err)
	if !refusal(err) {
		slog.DebugContext(ctx, "watch interrupted", "resource", x.resource.Resource, "err", err)
		return
	}
	if x.informer.HasSynced() {
		now := w.options.clock.Now()
		if now.Sub(x.lastRefusal) > refusalMemory {
			x.refusals = 0
		}
		x.refusals, x.lastRefusal = x.refusals+1, now
		if x.refusals < w.limits.refusals {
			slog.DebugContext(ctx, "watch refused", "resource", x.resource.Resource, "err", err)
			return
		}
	}
	if x.unknown != "" && (apierrors.IsForbidden(err) || apierrors.IsNotFound(err)) {
		w.drop(x, err)
		return
	}
	w.end(explainResource(err, x.resource.GroupResource()))
}

// drop gives x up: its last picture stays, and Unread tells.
func (w *Watcher) drop(x *watched, err error) {
	w.mu.Lock()
	w.unread = append(w.unread, x.unread(err))
	w.mu.Unlock()
	x.cancel()
	close(x.dropped)
}

// end ends the watch with err.
func (w *Watcher) end(err error) {
	w.mu.Lock()
	first := !w.ended
	if first {
		w.ended, w.err = true, err
		close(w.done)
	}
	w.mu.Unlock()
	if !first {
		return
	}
	w.cancel()
	w.subsMu.RLock()
	defer w.subsMu.RUnlock()
	for s := range w.subs {
		s.wake()
	}
}

// ErrStopped is what Err returns after Stop.
var ErrStopped = errors.New("the watch was stopped")

// Stop ends the watch. The caches keep their last picture.
func (w *Watcher) Stop() { w.end(ErrStopped) }

// Done is closed when the watch has ended: the caches do not change any more.
func (w *Watcher) Done() <-chan struct{} { return w.done }

// Err is nil until Done is closed. Then it is why: the context's error,
// ErrStopped, or the API server's refusal, with a hint.
func (w *Watcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Unread are the resources that may not be read, as in Snapshot.Unread.
func (w *Watcher) Unread() []Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	unread := append([]Finding(nil), w.unread...)
	SortFindings(unread)
	return unread
}

// Snapshot ties together what the caches hold now. It takes time in proportion
// to the size of the cluster.
func (w *Watcher) Snapshot() *Snapshot {
	var all objects
	for _, x := range w.watched {
		for _, obj := range x.informer.GetStore().List() {
			_ = all.add(obj) // every source has a place
		}
	}
	s := assemble(w.options.clock.Now().Add(w.server.ahead), &all, w.Unread())
	s.Server, s.Emulated = w.server.version, w.server.emulated
	return s
}

// quiet makes every record one of the debug level.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle asks Enabled itself: logr asks it of everything but of errors.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if !q.Enabled(ctx, r.Level) {
		return nil
	}
	r.Level = slog.LevelDebug
	return q.Handler.Handle(ctx, r)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }
func (q quiet) WithGroup(name string) slog.Handler       { return quiet{q.Handler.WithGroup(name)} }
