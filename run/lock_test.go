// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

const (
	us   = "20261122-150405-abcd@desk"
	them = "20261122-140000-0000@laptop"
)

func leaseOf(holder string, renewed time.Time) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: lockName, Namespace: lockNamespace},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: ptr.To[int32](30),
			AcquireTime: &metav1.MicroTime{Time: testTime.Add(-time.Hour)}, RenewTime: &metav1.MicroTime{Time: renewed},
		},
	}
}

func holderNow(t *testing.T, client *fake.Clientset) string {
	t.Helper()
	l, err := client.CoordinationV1().Leases(lockNamespace).Get(t.Context(), lockName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ptr.Deref(l.Spec.HolderIdentity, "")
}

func TestLockFreeTakenAndReleased(t *testing.T) {
	client, clk := fake.NewClientset(), clocktesting.NewFakeClock(testTime)
	l, err := acquireLease(t.Context(), client, us, clk, event.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if got := holderNow(t, client); got != us {
		t.Errorf("held by %q", got)
	}
	_, err = acquireLease(t.Context(), client, them, clk, event.Discard)
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v", err)
	}
	if locked.Run != "20261122-150405-abcd" || locked.Host != "desk" || !locked.Since.Equal(testTime) || locked.Expires != lockDuration {
		t.Errorf("got %+v", locked)
	}
	if !strings.Contains(hint.Of(err), "refit runs resume 20261122-150405-abcd") {
		t.Errorf("hint %q", hint.Of(err))
	}
	if err := l.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := acquireLease(t.Context(), client, them, clk, event.Discard); err != nil {
		t.Errorf("a released lock is not free: %v", err)
	}
}

// The same run on the same machine has its journal, so whoever had the lock is dead.
func TestLockTakenOverBySameRun(t *testing.T) {
	client := fake.NewClientset(leaseOf(us, testTime))
	if _, err := acquireLease(t.Context(), client, us, clocktesting.NewFakeClock(testTime), event.Discard); err != nil {
		t.Error(err)
	}
	_, err := acquireLease(t.Context(), client, strings.Replace(us, "desk", "other", 1), clocktesting.NewFakeClock(testTime), event.Discard)
	if _, locked := errors.AsType[*LockedError](err); !locked {
		t.Errorf("the same run on another machine: got %v", err)
	}
}

func TestLockedByOther(t *testing.T) {
	for name, c := range map[string]struct {
		lease  *coordinationv1.Lease
		locked bool
	}{
		"held":     {leaseOf(them, testTime), true},
		"expired":  {leaseOf(them, testTime.Add(-time.Hour)), false},
		"released": {leaseOf("", testTime), false},
		"none":     {nil, false},
	} {
		client := fake.NewClientset()
		if c.lease != nil {
			client = fake.NewClientset(c.lease)
		}
		err := lockedByOther(t.Context(), client, testTime)
		if _, locked := errors.AsType[*LockedError](err); locked != c.locked || !locked && err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A Lease may say anything, also that it is good for 68 years.
func TestLockForged(t *testing.T) {
	l := leaseOf(them, testTime.Add(time.Hour*24*365))
	l.Spec.LeaseDurationSeconds = ptr.To[int32](math.MaxInt32)
	clk := clocktesting.NewFakeClock(testTime)
	var told []string
	sink := event.SinkFunc(func(e event.Event) {
		told = append(told, e.Message)
	})
	done := make(chan error, 1)
	go func() {
		_, err := acquireLease(t.Context(), fake.NewClientset(l), us, clk, sink)
		done <- err
	}()
	for !clk.HasWaiters() {
		runtime.Gosched()
	}
	clk.Step(longestExpiry + lockMargin)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], them) {
		t.Errorf("told %q, want who left the lock behind", told)
	}
}

// acquireLater acquires while stepping the clock whenever somebody waits for it.
func acquireLater(t *testing.T, client *fake.Clientset, clk *clocktesting.FakeClock, asleep func()) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := acquireLease(t.Context(), client, us, clk, event.Discard)
		done <- err
	}()
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		if clk.HasWaiters() {
			if asleep != nil {
				asleep()
			}
			clk.Step(lockDuration + lockMargin)
		}
		runtime.Gosched()
	}
}

func TestLockExpired(t *testing.T) {
	for name, renewed := range map[string]time.Time{
		"long ago":       testTime.Add(-time.Hour),
		"in the future":  testTime.Add(time.Hour), // a dead holder whose clock was wrong
		"just now":       testTime.Add(-lockDuration),
		"never, no time": {},
	} {
		t.Run(name, func(t *testing.T) {
			l := leaseOf(them, renewed)
			if renewed.IsZero() {
				l.Spec.RenewTime = nil
			}
			client := fake.NewClientset(l)
			waited := false
			err := acquireLater(t, client, clocktesting.NewFakeClock(testTime), func() { waited = true })
			if err != nil || !waited {
				t.Errorf("waited: %t, %v", waited, err)
			}
		})
	}
}

// A lock that looks expired, by a clock that is wrong, and is renewed meanwhile.
func TestLockExpiredAndRenewed(t *testing.T) {
	client := fake.NewClientset(leaseOf(them, testTime.Add(-time.Hour)))
	clk := clocktesting.NewFakeClock(testTime)
	conflict := false
	client.PrependReactor("update", "leases", func(clienttesting.Action) (bool, apiruntime.Object, error) {
		if conflict {
			return true, nil, apierrors.NewConflict(coordinationv1.Resource("leases"), lockName, errors.New("changed"))
		}
		return false, nil, nil
	})
	err := acquireLater(t, client, clk, func() {
		if _, err := client.CoordinationV1().Leases(lockNamespace).Update(t.Context(), leaseOf(them, testTime.Add(lockDuration)), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		conflict = true // what the API server says to a stale resource version
	})
	if _, locked := errors.AsType[*LockedError](err); !locked {
		t.Errorf("got %v", err)
	}
}

func TestLockForbidden(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("*", "leases", func(clienttesting.Action) (bool, apiruntime.Object, error) {
		return true, nil, apierrors.NewForbidden(coordinationv1.Resource("leases"), lockName, errors.New("no"))
	})
	_, err := acquireLease(t.Context(), client, us, clocktesting.NewFakeClock(testTime), event.Discard)
	if err == nil || hint.Of(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestLockLost(t *testing.T) {
	for name, c := range map[string]struct {
		change func(ctx context.Context, client *fake.Clientset) error
		lost   bool
	}{
		"taken by another run": {func(ctx context.Context, client *fake.Clientset) error {
			_, err := client.CoordinationV1().Leases(lockNamespace).Update(ctx, leaseOf(them, testTime), metav1.UpdateOptions{})
			return err
		}, true},
		"deleted": {func(ctx context.Context, client *fake.Clientset) error {
			return client.CoordinationV1().Leases(lockNamespace).Delete(ctx, lockName, metav1.DeleteOptions{})
		}, true},
		"annotated": {func(ctx context.Context, client *fake.Clientset) error { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			client, clk := fake.NewClientset(), clocktesting.NewFakeClock(testTime)
			l, err := acquireLease(t.Context(), client, us, clk, event.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.change(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			conflicts := 1 // the stale resource version, once
			client.PrependReactor("update", "leases", func(clienttesting.Action) (bool, apiruntime.Object, error) {
				if conflicts--; conflicts >= 0 {
					return true, nil, apierrors.NewConflict(coordinationv1.Resource("leases"), lockName, errors.New("changed"))
				}
				return false, nil, nil
			})
			if err := l.check(t.Context()); err != nil {
				t.Errorf("a fresh lock is not asked about: %v", err)
			}
			clk.Step(lockDuration)
			err = l.check(t.Context())
			if c.lost != errors.Is(err, errLockLost) || !c.lost && err != nil {
				t.Fatalf("got %v", err)
			}
			select {
			case <-l.gone():
				if !c.lost {
					t.Error("gone")
				}
			default:
				if c.lost {
					t.Error("not gone")
				}
			}
			if err := l.release(t.Context()); err != nil {
				t.Error(err)
			}
			if name == "taken by another run" && holderNow(t, client) != them {
				t.Error("released what is another run's")
			}
		})
	}
}

// That the API server is away does not lose the lock, but it is not known to be held either.
func TestLockUnreachable(t *testing.T) {
	client, clk := fake.NewClientset(), clocktesting.NewFakeClock(testTime)
	l, err := acquireLease(t.Context(), client, us, clk, event.Discard)
	if err != nil {
		t.Fatal(err)
	}
	away := true
	client.PrependReactor("*", "leases", func(clienttesting.Action) (bool, apiruntime.Object, error) {
		return away, nil, errors.New("connection refused")
	})
	clk.Step(time.Minute)
	if err := l.check(t.Context()); err == nil || errors.Is(err, errLockLost) {
		t.Errorf("got %v", err)
	}
	away = false
	if err := l.check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLockIsRenewed(t *testing.T) {
	client, clk := fake.NewClientset(), clocktesting.NewFakeClock(testTime)
	l, err := acquireLease(t.Context(), client, us, clk, event.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); l.keep(ctx) }()
	renewed := func() time.Time {
		found, err := client.CoordinationV1().Leases(lockNamespace).Get(t.Context(), lockName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return found.Spec.RenewTime.Time
	}
	for step := range 3 {
		for !clk.HasWaiters() {
			runtime.Gosched()
		}
		clk.Step(lockRenewal)
		want := testTime.Add(time.Duration(step+1) * lockRenewal)
		for !renewed().Equal(want) {
			runtime.Gosched()
		}
	}
	cancel()
	<-ended
}

// A run that takes the API server away keeps its lock through an outage in which nobody
// can renew it, and has the usual one back afterwards.
func TestLockLastsThroughAnOutage(t *testing.T) {
	client, clk := fake.NewClientset(), clocktesting.NewFakeClock(testTime)
	l, err := acquireLease(t.Context(), client, us, clk, event.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.lasting(t.Context(), outageExpected); err != nil {
		t.Fatal(err)
	}
	clk.Step(5 * time.Minute)
	_, err = acquireLease(t.Context(), client, them, clk, event.Discard)
	if locked, ok := errors.AsType[*LockedError](err); !ok || locked.Expires != outageExpected-5*time.Minute {
		t.Errorf("after five minutes without a renewal: %v", err)
	}
	if err := l.check(t.Context()); err != nil { // it is renewed as soon as that can be
		t.Error(err)
	}
	if err := l.lasting(t.Context(), lockDuration); err != nil {
		t.Fatal(err)
	}
	clk.Step(time.Minute)
	if err := lockedByOther(t.Context(), client, clk.Now()); err != nil {
		t.Errorf("a minute without a renewal, and no outage expected: %v", err)
	}
}
