// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/event"
)

// However long a picture of the cluster takes, a node that is at work goes on.
func TestStepsDoNotWaitForAPicture(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newFakeCluster(t, "a", "b")
	c.workload("web", "a")
	tr := newTrial(t, c, testSpec("a"))
	done := make(chan struct{})
	sink := tr.sink
	tr.sink = event.SinkFunc(func(e event.Event) {
		if e.Type == event.NodePhase && e.Phase == event.PhaseDone {
			close(done)
		}
		sink.Emit(e)
	})
	ctx := deadline(t)
	pictures := 0
	c.onSnapshot = func() {
		if pictures++; pictures == 1 {
			return // without the first one nothing begins
		}
		select {
		case <-done:
		case <-ctx.Done():
			t.Error("the node waits for a picture")
		}
	}
	if o := tr.run(ctx); o.Result != event.ResultDone {
		t.Errorf("%+v", o)
	}
}

func TestLookout(t *testing.T) {
	clk := clocktesting.NewFakeClock(testTime)
	l := newLookout(clk)
	topics := []topic{nodeTopic("a"), workloadTopic("w")}
	await := func(ctx context.Context, looks chan int, enough int) chan error {
		ended := make(chan error, 1)
		go func() {
			n := 0
			ended <- l.await(ctx, time.Minute, topics, func() (bool, error) {
				n++
				looks <- n
				return n == enough, nil
			})
		}()
		return ended
	}
	t.Run("looks once for each change", func(t *testing.T) {
		looks := make(chan int)
		ended := await(t.Context(), looks, 3)
		<-looks
		l.tell(nodeTopic("b"), workloadTopic("v")) // nobody waits for those
		l.tell(nodeTopic("a"))
		<-looks
		l.tell(workloadTopic("w"))
		<-looks
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("times out", func(t *testing.T) {
		looks := make(chan int)
		ended := await(t.Context(), looks, 0)
		<-looks
		clk.Step(time.Minute)
		if err := <-ended; !errors.Is(err, errTimeout) {
			t.Error(err)
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		looks := make(chan int)
		ended := await(ctx, looks, 0)
		<-looks
		cancel(cause)
		if err := <-ended; !errors.Is(err, cause) {
			t.Error(err)
		}
	})
	if len(l.waiting) != 0 {
		t.Errorf("still waited for: %v", l.waiting)
	}
}

// A slow machine makes pictures rarer, within bounds.
func TestPicturesAreRenewedWithinBounds(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newFakeCluster(t, "a")
	clk := clocktesting.NewFakeClock(testTime)
	p := newPicture(c, clk)
	c.onSnapshot = func() { clk.Step(10 * time.Second) }
	ctx, cancel := context.WithCancel(deadline(t))
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		p.renew(ctx)
	}()
	for range 3 {
		_, changed := p.get()
		p.age()
		for done := false; !done; {
			select {
			case <-changed:
				done = true
			case <-ctx.Done():
				t.Fatal("the picture is not renewed")
			default:
				if clk.HasWaiters() {
					clk.Step(pictureMost)
				}
			}
		}
	}
	cancel()
	<-renewed
}
