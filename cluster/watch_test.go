// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/internal/hint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second // a guard against hanging, no more

// shopClient is a fake API server with shopManifests in it.
func shopClient(t *testing.T) *fake.Clientset {
	t.Helper()
	objs, err := DecodeManifests(strings.NewReader(shopManifests))
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientset(withUIDs(t, objs)...)
}

func watching(t *testing.T, client *fake.Clientset, opts ...Option) *Watcher {
	t.Helper()
	w, err := Watch(t.Context(), client, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// next takes n changes.
func next(t *testing.T, s *Subscription, n int) []Change {
	t.Helper()
	var changes []Change
	deadline := time.After(patience)
	for len(changes) < n {
		select {
		case <-s.Ready():
			changes = append(changes, s.Take()...)
		case <-deadline:
			t.Fatalf("only %v", changes)
		}
	}
	return changes
}

func TestWatcherSeesWhatReadSees(t *testing.T) {
	client := shopClient(t)
	read, err := Read(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	w := watching(t, client, WithClock(clocktesting.NewFakePassiveClock(now)))
	s := w.Snapshot()
	if got, want := draw(s), draw(read); got != want {
		t.Errorf("watched:\n%s\nread:\n%s", got, want)
	}
	if s.Server != read.Server || !s.Time.Equal(now) {
		t.Errorf("server %q, time %v", s.Server, s.Time)
	}
}

func TestWatcherLooksUp(t *testing.T) {
	w := watching(t, shopClient(t))
	names := func(pods []*corev1.Pod) (out []string) {
		for _, p := range pods {
			out = append(out, p.Name)
		}
		return out
	}
	if got := names(w.PodsOn("node-1")); !slices.Equal(got, []string{"static-node-1", "web-1-b"}) {
		t.Errorf("pods on node-1: %v", got)
	}
	pod := w.Pod("shop", "web-1-a")
	var budgets []string
	for _, b := range w.BudgetsOf(pod) {
		budgets = append(budgets, b.Name)
	}
	if !slices.Equal(budgets, []string{"all", "web"}) {
		t.Errorf("budgets of %s: %v", pod.Name, budgets)
	}
	for budget, want := range map[string][]string{
		"web": {"web-1-a", "web-1-b"}, "all": {"bare", "custom", "web-1-a", "web-1-b"}, "none": nil, "invalid": nil,
	} {
		if got := names(w.PodsOf(w.Budget("shop", budget))); !slices.Equal(got, want) {
			t.Errorf("pods of %s: %v, want %v", budget, got, want)
		}
	}
	if got := w.Attachments("node-1"); len(got) != 1 || got[0].Name != "att-1" {
		t.Errorf("attachments %v", got)
	}
	if got := w.ClaimVolume("shop", "web-1-a-scratch"); got != "pv-scratch" {
		t.Errorf("volume of the claim: %q", got)
	}
	if w.Node("nobody") != nil || w.Pod("shop", "nobody") != nil || w.Budget("shop", "nobody") != nil || w.ClaimVolume("shop", "data") != "" {
		t.Error("found what is not there")
	}
	var chain []string
	for _, c := range w.Controllers(pod) {
		chain = append(chain, fmt.Sprint(c.Object(), " ", c.Desired))
	}
	if want := []string{"ReplicaSet shop/web-1 2", "Deployment shop/web 1"}; !slices.Equal(chain, want) {
		t.Errorf("controllers %v, want %v", chain, want)
	}
	if got := w.Controllers(w.Pod("kube-system", "static-node-1")); got != nil {
		t.Errorf("controllers of a static pod: %v", got)
	}
	if !w.Reads(KindWorkload) || w.Reads("Nonsense") {
		t.Error("Reads is wrong")
	}
}

func TestChangesAreTold(t *testing.T) {
	client := shopClient(t)
	w := watching(t, client)
	s := w.Subscribe()
	defer s.Close()
	ctx := t.Context()
	pods := client.CoreV1().Pods("shop")

	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "new", Namespace: "shop", UID: "1"}, Spec: corev1.PodSpec{NodeName: "node-2"}}
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	got := next(t, s, 1)
	if w.Pod("shop", "new") == nil || len(w.PodsOn("node-2")) != 2 {
		t.Error("a change was told before the caches had it")
	}
	pod = pod.DeepCopy()
	pod.Labels = map[string]string{"a": "b"}
	if _, err := pods.Update(ctx, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got = append(got, next(t, s, 1)...)
	if err := pods.Delete(ctx, "new", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	got = append(got, next(t, s, 1)...)
	of := func(v Verb) Change { return Change{KindPod, "shop", "new", "1", v, ""} }
	if want := []Change{of(Added), of(Updated), of(Deleted)}; !slices.Equal(got, want) {
		t.Errorf("changes %v, want %v", got, want)
	}
	if w.Pod("shop", "new") != nil {
		t.Error("the deleted pod is still there")
	}
	if more := s.Take(); len(more) != 0 {
		t.Errorf("more changes: %v", more)
	}
	s.Close()
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	other := w.Subscribe() // a second reader sees it or not, the closed one must not
	defer other.Close()
	if more := s.Take(); len(more) != 0 {
		t.Errorf("changes after Close: %v", more)
	}
}

func TestAReplacedObjectIsDeletedAndAdded(t *testing.T) {
	w := &Watcher{subs: map[*Subscription]struct{}{}}
	s := w.Subscribe()
	h := w.handler(KindNode)
	node := func(uid, version string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "uid-" + "x", ResourceVersion: version, Labels: map[string]string{"uid": uid}}}
	}
	old, same, newer := node("1", "5"), node("1", "5"), node("1", "6")
	replaced := node("2", "7")
	replaced.UID = "uid-y"
	h.OnUpdate(old, same) // a relist brings the same object again
	h.OnUpdate(old, newer)
	h.OnUpdate(newer, replaced)
	want := []Change{{KindNode, "", "n", "uid-x", Updated, ""}, {KindNode, "", "n", "uid-x", Deleted, ""}, {KindNode, "", "n", "uid-y", Added, ""}}
	if got := s.Take(); !slices.Equal(got, want) {
		t.Errorf("changes %v, want %v", got, want)
	}
}

func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	client := fake.NewClientset()
	w := watching(t, client, WithKinds(KindPod))
	slow, quick := w.Subscribe(), w.Subscribe()
	defer slow.Close()
	defer quick.Close()
	const n = 500
	for i := range n {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%d", i), Namespace: "x"}}
		if _, err := client.CoreV1().Pods("x").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	next(t, quick, n)
	got := next(t, slow, n)
	for i, c := range got {
		if c.Name != fmt.Sprintf("p%d", i) {
			t.Fatalf("change %d is of %s", i, c.Name)
		}
	}
}

// forbid makes the fake refuse verb on resource with err.
func forbid(client *fake.Clientset, verb, resource string, err func() error) {
	client.PrependReactor(verb, resource, func(k8stesting.Action) (bool, runtime.Object, error) {
		e := err()
		return e != nil, nil, e
	})
}

func forbidden(resource string) func() error {
	return func() error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no"))
	}
}

func TestWatchWithoutPermission(t *testing.T) {
	for _, src := range sources() {
		t.Run(src.resource.Resource, func(t *testing.T) {
			client := shopClient(t)
			forbid(client, "list", src.resource.Resource, forbidden(src.resource.Resource))
			w, err := Watch(t.Context(), client)
			if src.unknown == "" {
				if err == nil || !strings.Contains(err.Error(), "read "+src.resource.Resource) || !strings.Contains(hint.Of(err), "--resource="+src.resource.Resource) {
					t.Errorf("error %v, hint %q", err, hint.Of(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			if s := w.Snapshot(); len(s.Unread) != 1 || s.Unread[0].Code != CodeUnread || w.Reads(src.kind) {
				t.Errorf("unread %v, reads %v", s.Unread, w.Reads(src.kind))
			}
			if src.kind == KindClaim && w.ClaimVolume("shop", "data") != "pv-data" {
				t.Error("the volume does not stand in for its claim")
			}
		})
	}
}

func TestWatchRefusedInTheMiddle(t *testing.T) {
	for name, tc := range map[string]struct {
		resource string
		err      func() error
		ends     bool
		hint     string
	}{
		"credentials no longer known": {"pods", func() error { return apierrors.NewUnauthorized("expired") }, true, "does not know these credentials"},
		"permission taken away":       {"nodes", forbidden("nodes"), true, "--resource=nodes"},
		"optional permission taken":   {"volumeattachments", forbidden("volumeattachments"), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for client-go to try again
			client := shopClient(t)
			var refuse, broken = make(chan struct{}), make(chan struct{})
			forbid(client, "list", tc.resource, func() error {
				select {
				case <-refuse:
					return tc.err()
				default:
					return nil
				}
			})
			// The first watch of the resource ends when told to; the next list is refused.
			client.PrependWatchReactor(tc.resource, func(k8stesting.Action) (bool, watch.Interface, error) {
				return true, closingWatch(broken), nil
			})
			patient := defaultLimits()
			patient.refusals = 2
			w, err := startWatch(t.Context(), client, patient)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			s := w.Subscribe()
			defer s.Close()
			if w.Err() != nil {
				t.Fatal(w.Err())
			}
			close(refuse)
			close(broken)
			if !tc.ends {
				waitFor(t, w, func() bool { return len(w.Unread()) == 1 })
				if w.Err() != nil || w.Attachments("node-1") == nil {
					t.Errorf("error %v, attachments %v", w.Err(), w.Attachments("node-1"))
				}
				return
			}
			select {
			case <-w.Done():
			case <-time.After(patience):
				t.Fatal("the watch goes on")
			}
			if got := hint.Of(w.Err()); !strings.Contains(got, tc.hint) {
				t.Errorf("error %v, hint %q", w.Err(), got)
			}
			<-s.Ready() // whoever sleeps on changes wakes up
			if w.Pod("shop", "bare") == nil {
				t.Error("the last picture is gone")
			}
		})
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := Watch(ctx, shopClient(t))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-w.Done()
	if !errors.Is(w.Err(), context.Canceled) {
		t.Errorf("error %v", w.Err())
	}
	w.Stop()
	if !errors.Is(w.Err(), context.Canceled) {
		t.Errorf("Stop changed the reason to %v", w.Err())
	}
}

func TestWatchOfAServerThatNeverSyncs(t *testing.T) {
	client := shopClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	client.PrependReactor("list", "pods", func(k8stesting.Action) (bool, runtime.Object, error) {
		cancel() // the user's patience ends
		return true, nil, apierrors.NewInternalError(errors.New("etcd is on fire"))
	})
	if _, err := Watch(ctx, client); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestWatchOfAServerThatGoesAway: it tells its version, and then it is not
// there any more, or says nothing more.
func TestWatchOfAServerThatGoesAway(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		limits limits
		err    string
		hint   string
	}{
		"refuses connections": {
			func(*http.Request) (*http.Response, error) {
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			},
			limits{ask: time.Millisecond, lost: 3, unanswered: patience, clock: clock.RealClock{}},
			"connection refused", "the API server cannot be reached",
		},
		"does not answer": {
			func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			},
			limits{ask: patience, lost: 1, unanswered: time.Millisecond, clock: clock.RealClock{}},
			"read nodes: the API server has not answered in 1ms", "kubectl get --raw",
		},
	} {
		t.Run(name, func(t *testing.T) {
			awaitEnd(t)
			server, _ := startAPI(t, nil)
			var greeted atomic.Bool
			client := clientFor(t, &rest.Config{Host: server.URL, WrapTransport: func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.URL.Path == "/version" && greeted.CompareAndSwap(false, true) {
						return next.RoundTrip(r)
					}
					return tc.answer(r)
				})
			}})
			_, err := startWatch(t.Context(), client, tc.limits)
			if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(hint.Of(err), tc.hint) {
				t.Errorf("error %v, hint %q", err, hint.Of(err))
			}
		})
	}
}

// awaitEnd waits at the end of the test for the goroutines that it started:
// after a refused connection client-go waits for a second before it looks
// whether it shall go on.
func awaitEnd(t *testing.T) {
	others := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for err := goleak.Find(others); err != nil; err = goleak.Find(others) {
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func waitFor(t *testing.T, w *Watcher, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-w.Done():
			t.Fatal(w.Err())
		case <-deadline:
			t.Fatal("waited in vain")
		case <-time.After(time.Millisecond):
		}
	}
}

// closingWatch is a watch without events that ends when end is closed.
func closingWatch(end <-chan struct{}) watch.Interface {
	events := make(chan watch.Event)
	w := watch.NewProxyWatcher(events)
	go func() {
		select {
		case <-end:
		case <-w.StopChan():
		}
		close(events)
	}()
	return w
}
