// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

const (
	lockName      = "refit"
	lockNamespace = "kube-system"
	// A lock that was not renewed for lockDuration belongs to nobody. It is
	// renewed three times as often, so that a slow API server costs nothing.
	lockDuration = 30 * time.Second
	lockRenewal  = 10 * time.Second
	// lockMargin is for a renewal that is on its way.
	lockMargin = 2 * time.Second
	// longestExpiry bounds what is believed of a Lease that refit did not write:
	// it may be anything. A run that takes the API server away says so for ten minutes.
	longestExpiry = 20 * lockDuration
	// releaseLimit is what giving the lock up may take at the end: somebody waits for the program.
	releaseLimit = 5 * time.Second
)

// LockedError says that another run holds the cluster's lock.
type LockedError struct {
	Run, Host string
	Since     time.Time     // when that run got it; zero if it does not say
	Expires   time.Duration // from now on, if it is not renewed
}

func (e *LockedError) Error() string {
	text := "another run holds the lock of this cluster: run " + e.Run
	if e.Host != "" {
		text += " on " + e.Host
	}
	if !e.Since.IsZero() {
		text += ", since " + e.Since.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s; unless it is renewed, the lock expires in %s", text, e.Expires.Round(time.Second))
}

// errLockLost says that the lock is not this run's any more.
var errLockLost = errors.New("the lock of this cluster was lost")

// lease is the Lease `refit` in kube-system while this run holds it. It keeps
// two runs from planning around each other; it is not a fence.
type lease struct {
	leases coordination.LeaseInterface
	holder string
	clock  clock.WithTicker
	sink   event.Sink
	lost   chan struct{} // closed when the lease is somebody else's

	mu      sync.Mutex
	current *coordinationv1.Lease
	renewed time.Time     // when the last renewal that succeeded was sent
	valid   time.Duration // for how long a renewal is good; 0 stands for lockDuration
}

// holderOf is what stands in the Lease: the run, and the machine with its journal.
func holderOf(run, host string) string { return run + "@" + host }

// acquireLease takes the lock for holder, or returns a *LockedError. What the
// same holder left behind is taken over at once: the caller has that run's
// journal open, so its process is dead. What others left behind is taken over
// once it has expired.
//
// Before it waits for something to expire it tells sink: nothing else happens then.
func acquireLease(ctx context.Context, client kubernetes.Interface, holder string, clk clock.WithTicker, sink event.Sink) (*lease, error) {
	l := &lease{leases: client.CoordinationV1().Leases(lockNamespace), holder: holder, clock: clk, sink: sink, lost: make(chan struct{})}
	for {
		err := l.tryAcquire(ctx)
		// Somebody else was faster: look again, and find their name in it.
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			continue
		}
		if apierrors.IsForbidden(err) {
			err = hint.Wrap(err, "allow this user to create leases.coordination.k8s.io in %s, and to get and update the one named %s", lockNamespace, lockName)
		}
		if err != nil {
			return nil, fmt.Errorf("take the lock (Lease %s/%s): %w", lockNamespace, lockName, err)
		}
		return l, nil
	}
}

func (l *lease) tryAcquire(ctx context.Context) error {
	sent := l.clock.Now()
	found, err := l.leases.Get(ctx, lockName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		found = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: lockName, Namespace: lockNamespace}}
		l.claim(found, sent)
		l.current, err = l.leases.Create(ctx, found, metav1.CreateOptions{})
		l.renewed = sent
		return err
	}
	if err != nil {
		return err
	}
	if err := l.waitForExpiry(ctx, found); err != nil {
		return err
	}
	sent = l.clock.Now()
	l.claim(found, sent)
	// The resource version in it makes this fail if the holder renewed meanwhile.
	l.current, err = l.leases.Update(ctx, found, metav1.UpdateOptions{})
	l.renewed = sent
	return err
}

// waitForExpiry returns nil if the lock may be taken from its holder. Clocks of
// two machines differ, so a lock that looks expired is watched for a while
// before it is believed: the update that follows fails if it was renewed.
func (l *lease) waitForExpiry(ctx context.Context, found *coordinationv1.Lease) error {
	holder := ptr.Deref(found.Spec.HolderIdentity, "")
	if holder == "" || holder == l.holder {
		return nil
	}
	wait, err := expiry(found, l.clock.Now())
	if err != nil {
		return err
	}
	l.sink.Emit(event.Event{
		Time: l.clock.Now(), Type: event.Warning,
		Message: fmt.Sprintf("the lock of this cluster was left behind by %s; taking it over in %s unless it is renewed", holder, wait),
	})
	timer := l.clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// expiry returns for how long a Lease that looks expired is watched before it is
// believed, or a *LockedError if it is held.
func expiry(found *coordinationv1.Lease, now time.Time) (wait time.Duration, err error) {
	duration := min(time.Duration(ptr.Deref(found.Spec.LeaseDurationSeconds, 0))*time.Second, longestExpiry)
	var left time.Duration // by this machine's clock
	if found.Spec.RenewTime != nil {
		left = found.Spec.RenewTime.Add(duration).Sub(now)
	}
	switch {
	case left > duration+lockMargin: // renewed in the future: the clocks tell nothing
		return duration + lockMargin, nil
	case left <= 0:
		return lockRenewal + lockMargin, nil
	}
	run, host, _ := strings.Cut(ptr.Deref(found.Spec.HolderIdentity, ""), "@")
	e := &LockedError{Run: run, Host: host, Expires: left}
	if found.Spec.AcquireTime != nil {
		e.Since = found.Spec.AcquireTime.Time
	}
	if !idPattern.MatchString(run) { // see Exclusively
		return 0, hint.Wrap(e, "wait for it to end; if its process is dead, the lock expires by itself")
	}
	return 0, hint.Wrap(e, "wait for that run to end; if its process is dead, resume it on %s: refit runs resume %s", host, run)
}

// Unlocked is a *LockedError if another run has the cluster.
func (o *Operator) Unlocked(ctx context.Context) error {
	return lockedByOther(ctx, o.Client, o.Clock.Now())
}

// lockedByOther returns a *LockedError if a run is at work. It takes nothing, and
// what it cannot find out is left to acquireLease.
func lockedByOther(ctx context.Context, client kubernetes.Interface, now time.Time) error {
	found, err := client.CoordinationV1().Leases(lockNamespace).Get(ctx, lockName, metav1.GetOptions{})
	if err != nil || ptr.Deref(found.Spec.HolderIdentity, "") == "" {
		return nil //nolint:nilerr // see above
	}
	_, err = expiry(found, now)
	return err
}

func (l *lease) claim(lease *coordinationv1.Lease, now time.Time) {
	if ptr.Deref(lease.Spec.HolderIdentity, "") != l.holder || lease.Spec.AcquireTime == nil {
		lease.Spec.AcquireTime = &metav1.MicroTime{Time: now}
		lease.Spec.LeaseTransitions = ptr.To(ptr.Deref(lease.Spec.LeaseTransitions, -1) + 1)
	}
	lease.Spec.HolderIdentity = &l.holder
	lease.Spec.LeaseDurationSeconds = ptr.To(int32(cmp.Or(l.valid, lockDuration) / time.Second))
	lease.Spec.RenewTime = &metav1.MicroTime{Time: now}
}

// keep renews the lock until ctx ends or the lock is lost. That the API server
// cannot be reached does not lose it: nobody else can take it then either.
func (l *lease) keep(ctx context.Context) {
	ticker := l.clock.NewTicker(lockRenewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			if err := l.renew(ctx); errors.Is(err, errLockLost) {
				return
			}
		}
	}
}

// gone is closed when the lock is somebody else's.
func (l *lease) gone() <-chan struct{} { return l.lost }

// check makes sure that the lock is held now. It asks the API server only if
// the last renewal is so old that somebody else may have taken the lock.
func (l *lease) check(ctx context.Context) error {
	select {
	case <-l.lost:
		return errLockLost
	default:
	}
	l.mu.Lock()
	renewed := l.renewed
	l.mu.Unlock()
	// By both clocks: the monotonic one stands still while a laptop sleeps, the
	// other one may be set back.
	now, limit := l.clock.Now(), lockDuration-lockRenewal/2
	if now.Sub(renewed) < limit && now.Round(0).Sub(renewed.Round(0)) < limit {
		return nil
	}
	return l.renew(ctx)
}

// lasting makes each renewal good for d from now on, and renews the lock at once: before
// the run does what may take the API server away, as nobody can renew a Lease then, and
// whoever comes first when it is back would find it expired.
func (l *lease) lasting(ctx context.Context, d time.Duration) error {
	l.mu.Lock()
	l.valid = d
	l.mu.Unlock()
	return l.renew(ctx)
}

// renew returns errLockLost if the lock is somebody else's, and any other error
// if that is not known.
func (l *lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lockRenewal)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		sent := l.clock.Now()
		wanted := l.current.DeepCopy()
		l.claim(wanted, sent)
		updated, err := l.leases.Update(ctx, wanted, metav1.UpdateOptions{})
		if err == nil {
			l.current, l.renewed = updated, sent
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("renew the lock: %w", err)
		}
		found, err := l.leases.Get(ctx, lockName, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("renew the lock: %w", err)
		}
		// Somebody who deletes the Lease wants the lock broken: that is respected.
		if err != nil || ptr.Deref(found.Spec.HolderIdentity, "") != l.holder {
			select {
			case <-l.lost:
			default:
				close(l.lost)
			}
			return errLockLost
		}
		l.current = found // a change that leaves the holder as it was: annotations, say
	}
}

// release gives the lock up, if it is still this run's.
func (l *lease) release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.lost:
		return nil
	default:
	}
	free := l.current.DeepCopy()
	free.Spec.HolderIdentity = ptr.To("")
	free.Spec.LeaseDurationSeconds = ptr.To(int32(1))
	free.Spec.RenewTime = &metav1.MicroTime{Time: l.clock.Now()}
	_, err := l.leases.Update(ctx, free, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // it was taken, or deleted
	}
	if err != nil {
		return fmt.Errorf("release the lock: %w", err)
	}
	return nil
}
