// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

// awayClient is a cluster of node a whose API server refuses connections until then.
func awayClient(until time.Time) *fake.Clientset {
	client := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "cluster"}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "a"}})
	client.PrependReactor("*", "*", func(action clienttesting.Action) (bool, apiruntime.Object, error) {
		if time.Now().Before(until) {
			return true, nil, &url.Error{Op: action.GetVerb(), URL: "https://127.0.0.1:6443", Err: syscall.ECONNREFUSED}
		}
		return false, nil, nil
	})
	return client
}

// rejoining lets a run find its cluster again, whose API server comes back after away. It
// returns how long that took, and what was told.
func rejoining(t *testing.T, ctx context.Context, away time.Duration) (took time.Duration, told []event.Event, err error) {
	t.Helper()
	spec := testSpec("a")
	spec.Cluster = Identity{UID: "cluster"}
	spec.Timeouts.Stall.Duration = 10 * time.Minute
	begun := time.Now()
	o := &Operator{Client: awayClient(begun.Add(away)), Clock: clock.RealClock{}, Sink: event.SinkFunc(func(e event.Event) { told = append(told, e) })}
	watching, stop := context.WithCancel(t.Context())
	defer synctest.Wait()
	defer stop()
	watcher, err := o.rejoin(ctx, watching, spec)
	if err != nil {
		return time.Since(begun), told, err
	}
	if watcher.Node("a") == nil {
		t.Error("the cluster was not read")
	}
	if _, err := o.acquire(ctx, spec, "here"); err != nil {
		t.Error(err)
	}
	return time.Since(begun), told, nil
}

// A run whose API server is away when it is resumed waits for it, and says so once.
func TestRejoinWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, told, err := rejoining(t, t.Context(), 3*time.Minute)
		if err != nil || took < 3*time.Minute || took > 4*time.Minute {
			t.Fatalf("%v after %s", err, took)
		}
		if len(told) != 1 || !contains(told[0].Message, "is waited for, for 10m0s at most") || !contains(told[0].Message, "connection refused") {
			t.Errorf("told %+v", told)
		}
	})
}

// It does not wait for ever, and says what to do.
func TestRejoinGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, _, err := rejoining(t, t.Context(), time.Hour)
		if !Unreachable(err) || took < 10*time.Minute || took > 11*time.Minute {
			t.Fatalf("%v after %s", err, took)
		}
		if h := hint.Of(err); !strings.Contains(h, "refit runs resume "+testSpec("a").Run) {
			t.Errorf("hint %q", h)
		}
	})
}

// Ctrl-C ends the waiting at once.
func TestRejoinInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := errors.New("stopped")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(stopped) })
		took, _, err := rejoining(t, ctx, time.Hour)
		if !errors.Is(err, stopped) || took != time.Minute {
			t.Errorf("%v after %s", err, took)
		}
	})
}

// The lock is waited for as well: an API server that has just come back may go again.
func TestAcquireWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := testSpec("a")
		spec.Timeouts.Stall.Duration = 10 * time.Minute
		o := &Operator{Client: awayClient(time.Now().Add(time.Minute)), Clock: clock.RealClock{}, Sink: event.Discard}
		if lock, err := o.acquire(t.Context(), spec, "here"); err != nil || lock == nil {
			t.Errorf("%v, %v", lock, err)
		}
	})
}
