// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
)

func TestTwinMaintain(t *testing.T) {
	s := newSite(t, twin.Options{Nodes: 4, Scenario: "testdata/small.yaml", Wait: true, Reboot: 300 * time.Millisecond, PodReady: 100 * time.Millisecond, PodTermination: 50 * time.Millisecond})
	names := s.names(t)

	t.Run("all nodes", func(t *testing.T) {
		witness := s.watchBoots(t)
		sink := s.operator.Sink
		s.operator.Sink = event.Tee(sink, s.together(t, names))
		r := request()
		r.All = true
		o := s.maintain(t.Context(), t, r)
		s.operator.Sink = sink
		if o.Result != event.ResultDone || o.Status.Count(Maintained) != len(names) {
			t.Fatalf("%+v", o)
		}
		for _, name := range names {
			if n := witness.of(t, s.node(t, name)); n != 1 {
				t.Errorf("node %s was rebooted %d times", name, n)
			}
		}
		if most := witness.peak(); most != 2 {
			t.Errorf("%d nodes were out at once, 2 are allowed", most)
		}
		s.clean(t)
		s.expectEvents(t, names)
		events := s.taken()
		last := events[len(events)-1]
		if last.Type != event.Summary || last.Run != o.Run || last.Counts.Evicted < 5 {
			t.Errorf("%+v", last)
		}
		if status, err := s.operator.Store.Read(o.Run); err != nil || status.Phase != PhaseFinished {
			t.Errorf("%+v, %v", status, err)
		}
		again, err := s.operator.Resume(t.Context(), o.Run, UnknownStop)
		if err != nil || again.Result != event.ResultDone || !contains(again.Reason, "nothing left to do") {
			t.Errorf("resume of a finished run: %+v, %v", again, err)
		}
		if _, err := s.operator.Abort(t.Context(), o.Run); err == nil {
			t.Error("a finished run was aborted")
		}
	})

	t.Run("bad input changes nothing", func(t *testing.T) {
		before := s.node(t, names[0]).ResourceVersion
		for what, change := range map[string]func(*Request){
			"unknown node":    func(r *Request) { r.Names = []string{names[0], "nowhere"} },
			"named twice":     func(r *Request) { r.Names = []string{names[0], names[0]} },
			"empty selector":  func(r *Request) { r.Names, r.Selector = nil, "no=such" },
			"bad selector":    func(r *Request) { r.Names, r.Selector = nil, "a=(" },
			"no nodes":        func(r *Request) { r.Names = nil },
			"two ways":        func(r *Request) { r.All = true },
			"nothing to do":   func(r *Request) { r.Reboot = false },
			"two things":      func(r *Request) { r.Command = "true" },
			"bad pods":        func(r *Request) { r.Drain.PodSelector = "a=(" },
			"no timeout":      func(r *Request) { r.Timeouts.Drain.Duration = 0 },
			"negative number": func(r *Request) { r.MaxFailures = -1 },
		} {
			r := request(names[0])
			change(&r)
			_, err := s.operator.Prepare(t.Context(), r)
			if _, input := errors.AsType[*InputError](err); !input {
				t.Errorf("%s: got %v", what, err)
			}
		}
		if after := s.node(t, names[0]).ResourceVersion; after != before {
			t.Logf("the node was written to meanwhile, by its kubelet or so: %s, %s", before, after)
		}
		s.clean(t)
	})

	t.Run("other nodes are out", func(t *testing.T) {
		s.patch(t, names[3], `{"spec":{"unschedulable":true}}`)
		defer s.patch(t, names[3], `{"spec":{"unschedulable":null}}`)
		r := request(names[0])
		r.MaxUnavailable, _ = ParseShare("1")
		_, err := s.operator.Prepare(t.Context(), r)
		var blocked *BlockedError
		if !errors.As(err, &blocked) || !contains(err.Error(), names[3]) {
			t.Errorf("got %v", err)
		}
		s.clean(t, names[3])
	})

	t.Run("cordoned by somebody else before", func(t *testing.T) {
		s.patch(t, names[1], `{"spec":{"unschedulable":true}}`)
		defer s.patch(t, names[1], `{"spec":{"unschedulable":null}}`)
		r := request(names[1])
		r.MaxUnavailable, _ = ParseShare("1")
		if o := s.maintain(t.Context(), t, r); o.Result != event.ResultDone {
			t.Errorf("%+v", o)
		}
		s.clean(t, names[1])
	})

	t.Run("pods that may not go", func(t *testing.T) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "bare", Namespace: "small"},
			Spec:       corev1.PodSpec{NodeName: names[2], Containers: []corev1.Container{{Name: "c", Image: "c"}}},
		}
		if _, err := s.admin.CoreV1().Pods("small").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.admin.CoreV1().Pods("small").Delete(t.Context(), "bare", metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}); err != nil {
				t.Error(err)
			}
		}()
		_, err := s.operator.Prepare(t.Context(), request(names[2]))
		var blocked *BlockedError
		if !errors.As(err, &blocked) || !contains(err.Error(), "small/bare") {
			t.Errorf("got %v", err)
		}
		s.clean(t)
	})

	t.Run("another run holds the lock", func(t *testing.T) {
		l, err := acquireLease(t.Context(), s.operator.Client, them, clock.RealClock{}, event.Discard)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.operator.Prepare(t.Context(), request(names[0]))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		_, err = p.Run(t.Context())
		var locked *LockedError
		if !errors.As(err, &locked) || locked.Run != "20261122-140000-0000" || locked.Host != "laptop" || locked.Expires <= 0 {
			t.Errorf("got %v", err)
		}
		if _, err := s.operator.Store.Read(p.Spec.Run); err == nil {
			t.Error("a run that never began is in the list")
		}
		if err := l.release(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.clean(t)
	})

	t.Run("failed and aborted", func(t *testing.T) {
		r := request(names[0], names[1])
		r.Reboot, r.Command = false, "echo out; exit 7"
		r.MaxUnavailable, _ = ParseShare("1")
		o := s.maintain(t.Context(), t, r)
		first, other := names[0], names[1] // in the order of the plan
		if o.Status.Nodes[first].Standing == Waiting {
			first, other = other, first
		}
		n := o.Status.Nodes[first]
		if o.Result != event.ResultFailed || n.Standing != Failed || !contains(n.Reason, "status 7") || o.Status.Nodes[other].Standing != Waiting {
			t.Errorf("%+v, %+v", o, n)
		}
		if mark, marked := cluster.MarkOf(s.node(t, first)); !marked || mark.Run != o.Run || !s.node(t, first).Spec.Unschedulable {
			t.Errorf("the failed node does not stay cordoned")
		}
		for _, name := range names {
			if run := cluster.TaintedBy(s.node(t, name)); run != "" {
				t.Errorf("node %s still has the soft taint of run %s", name, run)
			}
		}
		uncordoned, err := s.operator.Abort(t.Context(), o.Run)
		if err != nil || !slices.Equal(uncordoned, []string{first}) {
			t.Errorf("%v, %v", uncordoned, err)
		}
		s.clean(t)
		if status, err := s.operator.Store.Read(o.Run); err != nil || status.Phase != PhaseAborted {
			t.Errorf("%+v, %v", status, err)
		}
	})

	t.Run("interrupted and resumed", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s.operator.Sink = event.SinkFunc(func(e event.Event) {
			if e.Type == event.NodeCordoned {
				cancel()
			}
		})
		o := s.maintain(ctx, t, request(names[0], names[1], names[2]))
		s.operator.Sink = event.Discard
		if o.Result != event.ResultUnfinished {
			t.Fatalf("%+v", o)
		}
		o, err := s.operator.Resume(t.Context(), o.Run, UnknownStop)
		if err != nil || o.Result != event.ResultDone || o.Status.Count(Maintained) != 3 {
			t.Errorf("%+v, %v", o, err)
		}
		s.clean(t)
	})

	t.Run("the API server restarts in the middle", func(t *testing.T) {
		witness := s.watchBoots(t)
		var once sync.Once
		s.operator.Sink = event.SinkFunc(func(e event.Event) {
			if e.Type == event.PodEvicted {
				once.Do(func() { s.killAPIServer(t) })
			}
		})
		o := s.maintain(t.Context(), t, request(names...))
		s.operator.Sink = event.Discard
		if o.Result != event.ResultDone || o.Status.Count(Maintained) != len(names) {
			t.Errorf("%+v", o)
			for name, n := range o.Status.Nodes {
				t.Logf("%s: %+v", name, *n)
			}
		}
		for _, name := range names {
			// The witness's watch may have ended with the server; boot IDs tell as well.
			if n := s.node(t, name); n.Status.NodeInfo.BootID != bootRequest(o.Run, n.UID) {
				t.Errorf("node %s has boot ID %s", name, n.Status.NodeInfo.BootID)
			}
		}
		if most := witness.peak(); most > 2 {
			t.Errorf("%d nodes were out at once, 2 are allowed", most)
		}
		s.clean(t)
	})

	t.Run("a node that is not Ready counts", func(t *testing.T) {
		if err := s.twin.FailNode(t.Context(), names[3]); err != nil {
			t.Fatal(err)
		}
		// Its kubelet is silent now; what the node controller would find out later is said at once.
		notReady := `{"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`
		if _, err := s.admin.CoreV1().Nodes().Patch(t.Context(), names[3], types.StrategicMergePatchType, []byte(notReady), metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
		r := request(names[0])
		r.MaxUnavailable, _ = ParseShare("1")
		_, err := s.operator.Prepare(t.Context(), r)
		if _, blocked := errors.AsType[*BlockedError](err); !blocked || !contains(err.Error(), names[3]+" (not Ready)") {
			t.Errorf("got %v", err)
		}
		if err := s.twin.RecoverNode(t.Context(), names[3]); err != nil {
			t.Fatal(err)
		}
		s.await(t, names[3], cluster.Ready)
	})

	t.Run("a journal that lost records", func(t *testing.T) {
		r := request(names[0])
		r.Reboot, r.Command = false, "exit 1"
		o := s.maintain(t.Context(), t, r)
		cutJournal(t, s.operator.Store, o.Run, 2)
		_, err := s.operator.Resume(t.Context(), o.Run, UnknownStop)
		if err == nil || !contains(err.Error(), "lost records") || hint.Of(err) == "" {
			t.Errorf("got %v", err)
		}
		if _, err := s.operator.Abort(t.Context(), o.Run); err != nil {
			t.Error(err)
		}
		s.clean(t)
	})

	t.Run("a node is replaced and one deleted in the middle", func(t *testing.T) {
		replaced, deleted := names[0], names[1]
		// The one is deleted in the middle of its drain. What is left on it then is
		// a matter of the pod garbage collector, most of a minute later.
		var once sync.Once
		s.operator.Sink = event.SinkFunc(func(e event.Event) {
			switch {
			case e.Type == event.NodeCordoned && e.Node == replaced:
				s.replace(t, replaced)
			case (e.Type == event.PodEvicted || e.Type == event.NodeDrained) && e.Node == deleted:
				once.Do(func() { s.remove(t, deleted) })
			}
		})
		defer func() { s.operator.Sink = event.Discard }()
		o := s.maintain(t.Context(), t, request(names[:3]...))
		// Whoever looks between the deletion and the creation sees a node that is gone.
		result := event.ResultDone
		if o.Status.Nodes[replaced].Replaced {
			result = event.ResultFailed
		}
		if o.Result != result || o.Status.Nodes[replaced].Standing != Skipped || o.Status.Nodes[deleted].Standing != Skipped ||
			o.Status.Nodes[names[2]].Standing != Maintained {
			t.Errorf("%s, %s", o.Result, o.Reason)
			for name, n := range o.Status.Nodes {
				t.Errorf("%s: %+v", name, *n)
			}
		}
		if n := s.node(t, replaced); n.Annotations[simulated.RebootAnnotation] != "" {
			t.Errorf("the node in its place was rebooted")
		}
		s.clean(t)
	})
}
