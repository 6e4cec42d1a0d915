// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

func TestExclusively(t *testing.T) {
	client := fake.NewClientset()
	clk := clocktesting.NewFakeClock(testTime)
	o := &Operator{Client: client, Clock: clk, Sink: event.Discard}
	holder := func() string {
		found, err := client.CoordinationV1().Leases(lockNamespace).Get(t.Context(), lockName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return ptr.Deref(found.Spec.HolderIdentity, "")
	}
	failed := errors.New("the work failed")
	err := o.Exclusively(t.Context(), "something", func(context.Context) error {
		if !strings.HasPrefix(holder(), "something-") {
			t.Errorf("the lock is held by %q", holder())
		}
		// A run that comes meanwhile is told what is going on, and not to resume it.
		err := lockedByOther(t.Context(), client, clk.Now())
		if _, locked := errors.AsType[*LockedError](err); !locked || strings.Contains(hint.Of(err), "resume") {
			t.Errorf("got %v, hint %q", err, hint.Of(err))
		}
		return failed
	})
	if !errors.Is(err, failed) || holder() != "" {
		t.Errorf("got %v; the lock is held by %q", err, holder())
	}
}

func TestExclusivelyEndsWithTheLock(t *testing.T) {
	client := fake.NewClientset()
	clk := clocktesting.NewFakeClock(testTime)
	o := &Operator{Client: client, Clock: clk, Sink: event.Discard}
	err := o.Exclusively(t.Context(), "something", func(ctx context.Context) error {
		if err := client.CoordinationV1().Leases(lockNamespace).Delete(ctx, lockName, metav1.DeleteOptions{}); err != nil {
			return err
		}
		for ctx.Err() == nil {
			clk.Step(lockRenewal)
		}
		return context.Cause(ctx)
	})
	if !errors.Is(err, errLockLost) {
		t.Errorf("got %v", err)
	}
	if err := o.Exclusively(t.Context(), "something", func(context.Context) error { return nil }); err != nil {
		t.Errorf("a lock that somebody deleted: %v", err)
	}
}
