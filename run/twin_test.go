// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
	"refit.dev/refit/twin/twintest"
)

// site is a twin, with an operator who has no more rights than the documented ones.
type site struct {
	twin     *twin.Twin
	admin    kubernetes.Interface
	operator *Operator

	mu     sync.Mutex
	events []event.Event
}

func newSite(t *testing.T, opts twin.Options) *site {
	t.Helper()
	s := &site{twin: twintest.Start(t, opts)}
	s.admin = twintest.Client(t, s.twin)
	s.operator = operatorFor(t.Fatal, s.twin.MaintainerKubeconfig(), t.TempDir())
	s.operator.Sink = event.SinkFunc(func(e event.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
	})
	return s
}

// operatorFor returns an operator with the rights of a kubeconfig.
func operatorFor(fatal func(...any), kubeconfig, state string) *Operator {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		fatal(err)
	}
	clk := clock.RealClock{}
	return &Operator{Client: client, Server: config.Host, Store: NewStore(state, clk), Sink: event.Discard, Clock: clk}
}

func (s *site) taken() []event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

func request(names ...string) Request {
	share, _ := ParseShare("2")
	r := Request{
		Names: names, Reboot: true, MaxUnavailable: share,
		Drain: Drain{IgnoreDaemonSets: true}, Timeouts: DefaultTimeouts(),
	}
	for _, d := range []*metav1.Duration{&r.Timeouts.Drain, &r.Timeouts.Ready, &r.Timeouts.Recover, &r.Timeouts.Stall} {
		d.Duration = 5 * time.Minute // a guard against hanging
	}
	return r
}

// maintain runs a Request to its end.
func (s *site) maintain(ctx context.Context, t *testing.T, r Request) Outcome {
	t.Helper()
	p, err := s.operator.Prepare(ctx, r)
	if err != nil {
		t.Fatalf("%v\nhint: %s", err, hint.Of(err))
	}
	defer p.Close()
	o, err := p.Run(ctx)
	if err != nil {
		t.Fatalf("%v\nhint: %s", err, hint.Of(err))
	}
	return o
}

func (s *site) node(t *testing.T, name string) *corev1.Node {
	t.Helper()
	n, err := s.admin.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *site) names(t *testing.T) []string {
	t.Helper()
	list, err := s.admin.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names
}

// patch changes a node behind refit's back.
func (s *site) patch(t *testing.T, name, merge string) {
	t.Helper()
	if _, err := s.admin.CoreV1().Nodes().Patch(t.Context(), name, types.MergePatchType, []byte(merge), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// clean fails if refit left anything on any node, or kept its lock. If the test
// has failed, it tells where the pods are.
func (s *site) clean(t *testing.T, cordoned ...string) {
	t.Helper()
	defer s.explain(t)
	for _, name := range s.names(t) {
		n := s.node(t, name)
		if _, marked := n.Annotations[cluster.CordonAnnotation]; marked || n.Spec.Unschedulable != slices.Contains(cordoned, name) || cluster.TaintedBy(n) != "" {
			t.Errorf("node %s: unschedulable %t, marked %t, tainted by %q", name, n.Spec.Unschedulable, marked, cluster.TaintedBy(n))
		}
	}
	if l, err := s.admin.CoordinationV1().Leases(lockNamespace).Get(t.Context(), lockName, metav1.GetOptions{}); err != nil || ptr.Deref(l.Spec.HolderIdentity, "") != "" {
		t.Errorf("the lock is held by %q, %v", ptr.Deref(l.Spec.HolderIdentity, ""), err)
	}
}

// boots records every boot ID that any node has had since watch began.
type boots struct {
	mu   sync.Mutex
	seen map[string][]string
	out  map[string]bool // nodes cordoned or not Ready now
	most int             // the most of them at once
	more chan struct{}   // closed when there is more
}

// watchBoots is a witness that asks the API server itself. It is up to date
// with everything that happened before a call of settle.
func (s *site) watchBoots(t *testing.T) *boots {
	t.Helper()
	b := &boots{more: make(chan struct{}), seen: map[string][]string{}, out: map[string]bool{}}
	list, err := s.admin.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		b.add(&list.Items[i])
	}
	w, err := s.admin.CoreV1().Nodes().Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion, AllowWatchBookmarks: false})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	go func() {
		for e := range w.ResultChan() {
			if n, ok := e.Object.(*corev1.Node); ok {
				b.add(n)
			}
		}
	}()
	return b
}

func (b *boots) add(n *corev1.Node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := n.Status.NodeInfo.BootID
	if seen := b.seen[n.Name]; len(seen) == 0 || seen[len(seen)-1] != id {
		b.seen[n.Name] = append(seen, id)
	}
	b.out[n.Name] = n.Spec.Unschedulable || !cluster.Ready(n)
	count := 0
	for _, out := range b.out {
		if out {
			count++
		}
	}
	b.most = max(b.most, count)
	close(b.more)
	b.more = make(chan struct{})
}

// peak is the most nodes that were out at once so far.
func (b *boots) peak() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.most
}

// of waits until the witness has seen the boot ID that node has now, and
// returns how often it was rebooted.
func (b *boots) of(t *testing.T, n *corev1.Node) int {
	t.Helper()
	ctx := deadline(t)
	for {
		b.mu.Lock()
		seen, more := b.seen[n.Name], b.more
		b.mu.Unlock()
		if seen[len(seen)-1] == n.Status.NodeInfo.BootID {
			return len(seen) - 1
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("the witness has not seen the boot of %s", n.Name)
		}
	}
}

// together keeps machines down, when they are rebooted, until two nodes are out at
// once; but for the first node, which goes alone. Otherwise there is such a moment
// only if the pods that the next node waits for are back sooner than the machine. If
// there is none, the run fails because a machine does not come back: then what
// happened instead is told at the end of the test.
func (s *site) together(t *testing.T, names []string) event.Sink {
	reboots := func(last string) {
		merge := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, simulated.RebootTimeAnnotation, last)
		for _, name := range names {
			if _, err := s.admin.CoreV1().Nodes().Patch(t.Context(), name, types.MergePatchType, []byte(merge), metav1.PatchOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	var mu sync.Mutex
	var seen []string
	out, back, down := 0, 0, false
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() && down {
			t.Logf("every machine that is rebooted stays down until two nodes are out at once, which they were not after the first one was back: %d cordoned, %d uncordoned; %s",
				out, back, strings.Join(seen, ", "))
		}
	})
	return event.SinkFunc(func(e event.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Type == event.NodePhase || e.Type == event.NodeCordoned || e.Type == event.NodeUncordoned {
			seen = append(seen, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Time.Format("15:04:05.000"), e.Node, e.Type, e.Phase)))
		}
		switch e.Type {
		case event.NodeCordoned:
			if out++; out-back == 2 {
				reboots("null")
				down = false
			}
		case event.NodeUncordoned:
			if back++; back == 1 {
				reboots(`"never"`)
				down = true
			}
		}
	})
}

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

// explain logs where every pod stands if the test has failed.
func (s *site) explain(t *testing.T) {
	if !t.Failed() {
		return
	}
	pods, err := s.admin.CoreV1().Pods(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	for _, p := range pods.Items {
		t.Logf("pod %s/%s on %q: %s, deleted %v, finalizers %v, conditions %v", p.Namespace, p.Name, p.Spec.NodeName, p.Status.Phase, p.DeletionTimestamp, p.Finalizers, p.Status.Conditions)
	}
	budgets, err := s.admin.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	for _, b := range budgets.Items {
		t.Logf("budget %s/%s, generation %d: %+v", b.Namespace, b.Name, b.Generation, b.Status)
	}
}

// killAPIServer ends the API server as a crash does. The twin starts it again.
func (s *site) killAPIServer(t *testing.T) {
	status, err := s.twin.Status(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	for _, part := range status.Parts {
		if part.Name == "kube-apiserver" {
			if err := syscall.Kill(part.PID, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("the twin has no API server")
}

// await waits until the node is as wanted.
func (s *site) await(t *testing.T, name string, wanted func(*corev1.Node) bool) {
	t.Helper()
	ctx := deadline(t)
	list := metav1.SingleObject(metav1.ObjectMeta{Name: name})
	for ctx.Err() == nil {
		if wanted(s.node(t, name)) {
			return
		}
		w, err := s.admin.CoreV1().Nodes().Watch(ctx, list)
		if err != nil {
			t.Fatal(err)
		}
		for e := range w.ResultChan() {
			if n, ok := e.Object.(*corev1.Node); ok && wanted(n) {
				w.Stop()
				return
			}
		}
	}
	t.Fatalf("node %s does not become as wanted", name)
}

// expectEvents looks for the Events that every node has to have.
func (s *site) expectEvents(t *testing.T, names []string) {
	t.Helper()
	list, err := s.admin.CoreV1().Events(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, e := range list.Items {
		found[e.InvolvedObject.Name+" "+e.Reason] = true
	}
	for _, name := range names {
		for _, reason := range []string{reasonCordoned, reasonDrained, reasonMaintained, reasonUncordoned} {
			if !found[name+" "+reason] {
				t.Errorf("node %s has no Event %s", name, reason)
			}
		}
	}
}

func (s *site) remove(t *testing.T, name string) {
	if err := s.admin.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// replace deletes a node and makes another one of its name.
func (s *site) replace(t *testing.T, name string) {
	old, err := s.admin.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	s.remove(t, name)
	fresh := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: old.Labels}, Status: old.Status}
	fresh.Status.NodeInfo.BootID = fmt.Sprintf("fresh-%s", name)
	if _, err := s.admin.CoreV1().Nodes().Create(t.Context(), fresh, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
}
