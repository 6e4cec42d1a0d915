// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// However long it takes to look at the whole cluster, a node that is at work goes on.
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
	c.onDrain = func(_ context.Context, name string) (Drained, error) {
		c.change(func() { c.nodes["d"] = readyNode("d") }) // for this the picture has to be made anew
		return c.drain(name), nil
	}
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

// What was noted is shown by the next view, and what a picture is built on is
// made anew in the background, without losing what happens meanwhile.
func TestPictureFollowsTheCluster(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newFakeCluster(t, "a", "b")
	c.workload("web", "a", "a")
	ctx, cancel := context.WithCancel(deadline(t))
	p := newPicture(c, testSpec("a"), clock.RealClock{})
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		p.renew(ctx)
	}()
	defer func() { cancel(); <-renewed }()
	moving := func(v View, node string) int {
		i, known := v.World.Node(node)
		if !known {
			return -1
		}
		return v.World.Staying(i)
	}
	node := func(name string) cluster.Change { return cluster.Change{Kind: cluster.KindNode, Name: name} }

	c.change(func() { c.pods = c.pods[1:] })
	if got := moving(p.view(), "a"); got != 2 {
		t.Errorf("%d pods before anything is noted", got)
	}
	gone := cluster.Change{Kind: cluster.KindPod, Namespace: "shop", Name: "web-1"}
	p.note(gone, gone)
	if v := p.view(); moving(v, "a") != 1 || len(v.Nodes) != 2 {
		t.Errorf("%d pods on one of %d nodes", moving(v, "a"), len(v.Nodes))
	}

	// While the cluster is looked at again, a pod goes.
	begun, goOn := make(chan struct{}), make(chan struct{})
	c.onSnapshot = func() {
		select {
		case begun <- struct{}{}:
			<-goOn
		case <-ctx.Done():
		}
	}
	c.change(func() { c.nodes["c"] = readyNode("c") })
	p.note(node("c"))
	if v := p.view(); len(v.Nodes) != 2 {
		t.Errorf("%d nodes before they were looked at again", len(v.Nodes))
	}
	<-begun
	c.change(func() { c.pods = nil })
	p.note(cluster.Change{Kind: cluster.KindPod, Namespace: "shop", Name: "web-2"})
	if v := p.view(); moving(v, "a") != 0 || len(v.Nodes) != 2 {
		t.Errorf("meanwhile: %d pods on one of %d nodes", moving(v, "a"), len(v.Nodes))
	}
	close(goOn)
	v := p.view()
	for len(v.Nodes) != 3 && ctx.Err() == nil {
		select {
		case <-p.news:
		case <-ctx.Done():
		}
		v = p.view()
	}
	if len(v.Nodes) != 3 || moving(v, "c") != 0 || moving(v, "a") != 0 {
		t.Errorf("in the end: %d pods on one of %d nodes", moving(v, "a"), len(v.Nodes))
	}
}

func TestRestsAreBounded(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{0: 0, time.Millisecond: 4 * time.Millisecond, time.Hour: 30 * time.Second} {
		if got := restAfter(took); got != want {
			t.Errorf("after %s a rest of %s, want %s", took, got, want)
		}
	}
}
