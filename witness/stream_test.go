// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	testclock "k8s.io/utils/clock/testing"
)

// script is a server of one kind whose watches go as the test says: each entry
// is one watch, from the revision at which it has to be asked for.
type script struct {
	t       *testing.T
	watches []watchScript
	asked   []string
}

type watchScript struct {
	err    error // the watch is refused
	events []watch.Event
	hang   bool // it stays open
}

func (s *script) kind() kind {
	return kind{
		name: "pods",
		list: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "100"}}, nil
		},
		watch: func(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
			s.asked = append(s.asked, o.ResourceVersion)
			if !o.AllowWatchBookmarks {
				s.t.Error("a watch without bookmarks")
			}
			next := s.watches[0]
			s.watches = s.watches[1:]
			if next.err != nil {
				return nil, next.err
			}
			w := watch.NewFakeWithChanSize(len(next.events), false)
			for _, e := range next.events {
				w.Action(e.Type, e.Object)
			}
			if !next.hang {
				w.Stop()
			}
			return w, nil
		},
	}
}

func podAt(name string, revision int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: fmt.Sprint(revision)}}
}

func added(name string, revision int) watch.Event {
	return watch.Event{Type: watch.Added, Object: podAt(name, revision)}
}

func bookmark(revision int) watch.Event {
	return watch.Event{Type: watch.Bookmark, Object: podAt("", revision)}
}

// run follows the script to its end, which is an error or a watch that hangs.
func (s *script) run() (*stream, error) {
	s.t.Helper()
	clock := testclock.NewFakeClock(epoch)
	stream, err := open(s.t.Context(), s.kind(), clock)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- stream.follow(ctx) }()
	for {
		select {
		case err := <-ended:
			return stream, err
		default:
			if clock.HasWaiters() {
				clock.Step(10 * time.Second)
			}
		}
	}
}

func TestStreamIsTakenUpWhereItEnded(t *testing.T) {
	gone := apierrors.NewResourceExpired("too old resource version")
	s := &script{t: t, watches: []watchScript{
		{events: []watch.Event{added("a", 101), bookmark(105)}},
		{err: errors.New("connection refused")},
		{events: []watch.Event{added("b", 107)}},
		{events: []watch.Event{{Type: watch.Error, Object: &apierrors.NewInternalError(errors.New("stream broke")).ErrStatus}}},
		{err: apierrors.NewTooManyRequests("busy", 1)},
		{err: gone},
	}}
	stream, err := s.run()
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("a history that the server has no more: error %v", err)
	}
	if got := strings.Join(s.asked, " "); got != "100 105 105 107 107 107" {
		t.Errorf("watched from revisions %s", got)
	}
	if len(stream.changes) != 2 || stream.last != 107 {
		t.Errorf("%d changes up to revision %d", len(stream.changes), stream.last)
	}
}

func TestStreamThatCannotGoOn(t *testing.T) {
	for what, end := range map[string]watchScript{
		"history is gone in the middle": {events: []watch.Event{{Type: watch.Error, Object: &apierrors.NewResourceExpired("x").ErrStatus}}},
		"history is gone, as 410":       {events: []watch.Event{{Type: watch.Error, Object: &metav1.Status{Code: http.StatusGone, Reason: metav1.StatusReasonGone}}}},
		"order":                         {events: []watch.Event{added("a", 103), added("b", 102)}},
		"twice the same revision":       {events: []watch.Event{added("a", 103), added("b", 103)}},
		"a bookmark goes back":          {events: []watch.Event{added("a", 103), bookmark(102)}},
		"before the list":               {events: []watch.Event{added("a", 99)}},
		"no number":                     {events: []watch.Event{{Type: watch.Added, Object: &corev1.Pod{}}}},
		"not allowed any more":          {err: apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("no"))},
	} {
		t.Run(what, func(t *testing.T) {
			s := &script{t: t, watches: []watchScript{end}}
			if _, err := s.run(); err == nil {
				t.Error("the witness goes on as if nothing were missing")
			}
		})
	}
}

func TestCatchUp(t *testing.T) {
	s := &script{t: t, watches: []watchScript{
		{events: []watch.Event{added("a", 104)}}, // ends before it is there
		{events: []watch.Event{bookmark(110)}, hang: true},
	}}
	stream, err := open(t.Context(), s.kind(), testclock.NewFakeClock(epoch))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.catchUp(t.Context(), 108); err != nil || stream.last != 110 {
		t.Errorf("revision %d, error %v", stream.last, err)
	}
	s.watches = []watchScript{{hang: true}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := stream.catchUp(ctx, 111); err == nil || !strings.Contains(err.Error(), "the watch reached revision 110, not 111") {
		t.Errorf("error %v", err)
	}
}
