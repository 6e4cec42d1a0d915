// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// stream fills a ledger from a watch.
type stream struct {
	kind
	*ledger
	clock clock.Clock
}

// open lists what exists and starts the history there.
func open(ctx context.Context, k kind, c clock.Clock) (*stream, error) {
	objects, revision, err := k.objects(ctx)
	if err != nil {
		return nil, err
	}
	return &stream{k, newLedger(k.name, revision, objects), c}, nil
}

// objects lists all objects at the newest revision.
func (k kind) objects(ctx context.Context) ([]metav1.Object, uint64, error) {
	// Without a resource version the answer is at least as new as the request.
	list, err := k.list(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", k.name, err)
	}
	listMeta, err := meta.ListAccessor(list)
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", k.name, err)
	}
	revision, err := parseRevision("list of "+k.name, listMeta.GetResourceVersion())
	if err != nil {
		return nil, 0, err
	}
	var objects []metav1.Object
	err = meta.EachListItem(list, func(o runtime.Object) error {
		object, err := meta.Accessor(o)
		if err == nil {
			objects = append(objects, slim(object))
		}
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", k.name, err)
	}
	return objects, revision, nil
}

// slim drops what nobody judges by.
func slim(o metav1.Object) metav1.Object {
	o.SetManagedFields(nil)
	return o
}

// follow adds to the history until ctx ends, which is no error. A watch that
// ends is taken up where it ended; if the server no longer has the history from
// there on, that is an error.
func (s *stream) follow(ctx context.Context) error {
	backoff := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 5 * time.Second}
	for ctx.Err() == nil {
		err := s.watchOnce(ctx, nil, func() bool { return false })
		if err == nil || ctx.Err() != nil {
			continue
		}
		if !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-s.clock.After(backoff.Step()):
		}
	}
	return nil
}

// catchUp adds to the history until it reaches revision. A watch of a kind of
// which nothing changes tells how far it has come by a bookmark, which the API
// server sends 2 s before a watch's own end (nextBookmarkTime in
// k8s.io/apiserver, pkg/storage/cacher).
func (s *stream) catchUp(ctx context.Context, revision uint64) error {
	for s.last < revision {
		err := s.watchOnce(ctx, ptr.To[int64](3), func() bool { return s.last >= revision })
		if ctx.Err() != nil {
			return fmt.Errorf("%s: the watch reached revision %d, not %d: %w", s.kind.name, s.last, revision, ctx.Err())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// watchOnce runs one watch to its end, or until enough. It returns nil when the
// server ended the watch in good order.
func (s *stream) watchOnce(ctx context.Context, seconds *int64, enough func() bool) error {
	w, err := s.watch(ctx, metav1.ListOptions{
		ResourceVersion: fmt.Sprint(s.last), AllowWatchBookmarks: true, TimeoutSeconds: seconds,
	})
	if err != nil {
		return fmt.Errorf("watch %s from revision %d: %w", s.kind.name, s.last, err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			if err := s.take(e); err != nil {
				return err
			}
			if enough() {
				return nil
			}
		}
	}
}

func (s *stream) take(e watch.Event) error {
	if e.Type == watch.Error {
		return fmt.Errorf("watch %s from revision %d: %w", s.kind.name, s.last, apierrors.FromObject(e.Object))
	}
	if err := s.enter(e); err != nil {
		return &lostError{fmt.Errorf("watch %s: %w", s.kind.name, err)}
	}
	return nil
}

func (s *stream) enter(e watch.Event) error {
	object, err := meta.Accessor(e.Object)
	if err != nil {
		return err
	}
	revision, err := revisionOf(object)
	if err != nil {
		return err
	}
	if e.Type == watch.Bookmark {
		if revision < s.last {
			return fmt.Errorf("a bookmark of revision %d came after revision %d", revision, s.last)
		}
		s.last = revision
		return nil
	}
	return s.add(change{revision, s.clock.Now(), e.Type, slim(object)})
}

// lostError says that a part of the history is missing for good.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// passing tells whether taking the watch up again may help: the server could
// not be asked, but still has the history.
func passing(err error) bool {
	var lost *lostError
	return !errors.As(err, &lost) &&
		!apierrors.IsGone(err) && !apierrors.IsResourceExpired(err) && // the history was compacted
		!apierrors.IsUnauthorized(err) && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) &&
		!apierrors.IsBadRequest(err) && !apierrors.IsInvalid(err)
}
