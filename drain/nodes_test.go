// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

// ended is what Nodes returned.
type ended struct {
	summary event.Event
	err     error
}

func (x *world) drainNodes(ctx context.Context, d *Drainer, keepCordon bool, names ...string) <-chan ended {
	x.t.Helper()
	nodes, err := Resolve(ctx, x.client, names, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	done := make(chan ended, 1)
	go func() {
		summary, err := d.Nodes(ctx, nodes, "drain-1", keepCordon)
		done <- ended{summary, err}
	}()
	return done
}

func (x *world) ended(done <-chan ended) ended {
	x.t.Helper()
	select {
	case e := <-done:
		if last := x.events[len(x.events)-1]; last.Type != event.Summary {
			x.t.Errorf("the last event is a %s", last.Type)
		}
		return e
	case <-time.After(patience):
		x.t.Fatalf("the drain does not end; events:\n%s", x.log())
		panic("unreachable")
	}
}

// cordoned returns the names of the unschedulable nodes.
func (x *world) cordoned() string {
	list, err := x.client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	var names []string
	for _, n := range list.Items {
		if n.Spec.Unschedulable {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (x *world) notes() string {
	list, err := x.client.CoreV1().Events("").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	var notes []string
	for _, e := range list.Items {
		notes = append(notes, e.InvolvedObject.Name+" "+e.Reason)
	}
	slices.Sort(notes)
	return strings.Join(notes, ", ")
}

// Every Event of the fake clientset would get the same, empty name.
func (x *world) nameEvents() {
	n := 0
	x.client.PrependReactor("create", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
		n++
		e := a.(clienttesting.CreateAction).GetObject().(*corev1.Event)
		e.Name = e.GenerateName + string(rune('a'+n))
		return false, nil, nil
	})
}

func TestNodes(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), node("n3"), pod("a", "n1"), pod("b", "n2"), pod("c", "n3"))
	x.nameEvents()
	// No pod goes before all nodes are cordoned.
	x.answer("shop/a", func(int) error {
		if got := x.cordoned(); got != "n1 n2" {
			t.Errorf("cordoned %q while a pod is evicted", got)
		}
		return nil
	})
	got := x.ended(x.drainNodes(t.Context(), x.drainer(), false, "n1", "n2"))
	if got.err != nil || got.summary.Result != event.ResultDone || *got.summary.Counts != (event.Counts{Evicted: 2, Gone: 2}) {
		t.Errorf("%+v", got)
	}
	if x.cordoned() != "n1 n2" {
		t.Errorf("cordoned %q", x.cordoned())
	}
	if want := "n1 RefitCordoned, n1 RefitDrained, n2 RefitCordoned, n2 RefitDrained"; x.notes() != want {
		t.Errorf("events on nodes: %s", x.notes())
	}
}

func TestNodesRefused(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), pod("a", "n1"), pod("b", "n2", bare))
	got := x.ended(x.drainNodes(t.Context(), x.drainer(), false, "n1", "n2"))
	if got.summary.Result != event.ResultBlocked || !strings.Contains(got.summary.Message, "shop/b") || len(x.asked) != 0 {
		t.Errorf("%+v", got)
	}
	if x.cordoned() != "" || x.notes() != "" {
		t.Errorf("cordoned %q, events %s", x.cordoned(), x.notes())
	}
}

// One node is stuck: it is uncordoned again, the others are not.
func TestNodesUndoesItsOwnCordons(t *testing.T) {
	for _, tt := range []struct {
		name       string
		keepCordon bool
		foreign    bool // n1 was cordoned before
		want       string
		notes      string
	}{
		{"undone", false, false, "n2", "n1 RefitBlocked, n1 RefitCordoned, n1 RefitUncordoned, n2 RefitCordoned, n2 RefitDrained"},
		{"kept", true, false, "n1 n2", "n1 RefitBlocked, n1 RefitCordoned, n2 RefitCordoned, n2 RefitDrained"},
		{"somebody else's", false, true, "n1 n2", "n1 RefitBlocked, n2 RefitCordoned, n2 RefitDrained"},
	} {
		for _, interrupt := range []string{"timeout", "cancel"} {
			t.Run(tt.name+" after "+interrupt, func(t *testing.T) {
				n1 := node("n1")
				n1.Spec.Unschedulable = tt.foreign
				x := newWorld(t, n1, node("n2"), pdb("web", 0, 1), pod("web-0", "n1"), pod("free", "n2", label("free")))
				x.nameEvents()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := x.drainNodes(ctx, x.drainer(func(o *Options) { o.Timeout = time.Minute }), tt.keepCordon, "n1", "n2")
				x.untilBlocked("shop/web-0", event.CauseBudget)
				x.until("the other node to be drained", func() bool { return x.count(event.NodeDrained) == 1 })
				if interrupt == "timeout" {
					x.step(time.Minute)
				} else {
					cancel()
				}
				got := x.ended(done)
				if got.err == nil || got.summary.Result != event.ResultUnfinished || len(got.summary.Remaining) != 1 || got.summary.Blocked != 1 || got.summary.Evicted != 1 {
					t.Errorf("%+v", got)
				}
				if x.cordoned() != tt.want {
					t.Errorf("cordoned %q, want %q", x.cordoned(), tt.want)
				}
				if x.notes() != tt.notes {
					t.Errorf("events on nodes: %s", x.notes())
				}
				if x.count(event.NodeFailed) != 1 {
					t.Errorf("told:\n%s", x.log())
				}
			})
		}
	}
}

func TestNodesCordonFails(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), pod("a", "n1"))
	x.client.PrependReactor("patch", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.(clienttesting.PatchAction).GetName() == "n2" {
			return true, nil, apierrors.NewForbidden(corev1.Resource("nodes"), "n2", errors.New("no"))
		}
		return false, nil, nil
	})
	got := x.ended(x.drainNodes(t.Context(), x.drainer(), false, "n1", "n2"))
	if !apierrors.IsForbidden(got.err) || got.summary.Result != event.ResultFailed || hint.Of(got.err) == "" || len(x.asked) != 0 || x.cordoned() != "" {
		t.Errorf("%+v, asked %v, cordoned %q", got, x.asked, x.cordoned())
	}
}

func TestNodesDryRun(t *testing.T) {
	for _, how := range []DryRun{DryRunClient, DryRunServer} {
		t.Run(string(how), func(t *testing.T) {
			x := newWorld(t, node("n1"), pdb("web", 0, 1), pod("web-0", "n1"), pod("free", "n1", label("free")))
			var patched []clienttesting.PatchActionImpl
			x.client.PrependReactor("patch", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
				patched = append(patched, a.(clienttesting.PatchActionImpl))
				return true, node("n1"), nil // the fake clientset knows no dry run
			})
			got := x.ended(x.drainNodes(t.Context(), x.drainer(dryRun(how)), false, "n1"))
			want := event.ResultDone
			if how == DryRunServer {
				want = event.ResultBlocked
				if len(patched) != 1 || !slices.Equal(patched[0].PatchOptions.DryRun, []string{"All"}) {
					t.Errorf("%+v", patched)
				}
			} else if len(patched) != 0 {
				t.Errorf("%+v", patched)
			}
			if got.err != nil || got.summary.Result != want || x.notes() != "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Pods that may not be evicted turn up between the first look and the drain.
func TestNodesRefusedInTheMiddle(t *testing.T) {
	x := newWorld(t, node("n1"), pod("a", "n1"))
	x.terminate = false
	done := x.drainNodes(t.Context(), x.drainer(), false, "n1")
	x.untilAsked("shop/a", 1)
	x.create(pod("late", "n1", bare))
	x.untilBlocked("shop/late", event.CauseRefused)
	x.delete(podsResource, "shop", "a")
	got := x.ended(done)
	var refused *RefusedError
	if !errors.As(got.err, &refused) || got.summary.Result != event.ResultUnfinished || x.cordoned() != "" {
		t.Errorf("%+v, cordoned %q", got, x.cordoned())
	}
}

func TestNodesOneDeleted(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), pdb("web", 0, 1), pod("web-0", "n1"), pod("free", "n2", label("free")))
	done := x.drainNodes(t.Context(), x.drainer(), false, "n1", "n2")
	x.untilBlocked("shop/web-0", event.CauseBudget)
	x.delete(nodesResource, "", "n1")
	got := x.ended(done)
	if !errors.Is(got.err, ErrNodeDeleted) || got.summary.Result != event.ResultFailed || got.summary.Evicted != 1 {
		t.Errorf("%+v", got)
	}
	if x.cordoned() != "n2" {
		t.Errorf("cordoned %q", x.cordoned())
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		typed []string
		want  string
		err   string
	}{
		{[]string{"a", "b"}, "a b", ""},
		{[]string{"node/a", "nodes/b"}, "a b", ""},
		{[]string{"a", "b", "a"}, "", "node a is given twice"},
		{[]string{"a", "node/a"}, "", "node a is given twice"},
		{[]string{"pod/a"}, "", `"pod/a" is not a node`},
		{[]string{""}, "", "a node's name is empty"},
	} {
		got, err := Names(tt.typed)
		if strings.Join(got, " ") != tt.want || (err == nil) != (tt.err == "") || err != nil && (err.Error() != tt.err || !errors.Is(err, ErrInput) || hint.Of(err) == "") {
			t.Errorf("Names(%q) = %q, %v", tt.typed, got, err)
		}
	}
}

func TestResolve(t *testing.T) {
	in := func(zone string) func(*corev1.Node) {
		return func(n *corev1.Node) { n.Labels = map[string]string{"zone": zone} }
	}
	labelled := func(name string, edit func(*corev1.Node)) *corev1.Node {
		n := node(name)
		edit(n)
		return n
	}
	x := newWorld(t, labelled("n2", in("a")), labelled("n1", in("a")), labelled("n3", in("b")))
	nodes, err := Resolve(t.Context(), x.client, []string{"n3", "n1"}, nil)
	if err != nil || len(nodes) != 2 || nodes[0].Name != "n3" {
		t.Errorf("%v, %v", nodes, err)
	}
	nodes, err = Resolve(t.Context(), x.client, nil, labels.SelectorFromSet(labels.Set{"zone": "a"}))
	if err != nil || len(nodes) != 2 || nodes[0].Name != "n1" {
		t.Errorf("%v, %v", nodes, err)
	}
	_, err = Resolve(t.Context(), x.client, []string{"n1", "n8", "n9"}, nil)
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "n8, n9") || hint.Of(err) == "" {
		t.Errorf("%v", err)
	}
	_, err = Resolve(t.Context(), x.client, nil, labels.SelectorFromSet(labels.Set{"zone": "c"}))
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "zone=c") {
		t.Errorf("%v", err)
	}
}
