// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin"
)

const singletonsNamespace = "small"

// readiness is a witness that counts the Ready pods of each app, with a watch of
// its own: it sees every state that the API server had.
type readiness struct {
	mu    sync.Mutex
	ready map[string]map[types.UID]bool // by app
	least map[string]int
	blind bool // the watch has ended
}

func (s *site) watchReadiness(t *testing.T) *readiness {
	t.Helper()
	r := &readiness{ready: map[string]map[types.UID]bool{}, least: map[string]int{}}
	list, err := s.admin.CoreV1().Pods(singletonsNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		r.see(&list.Items[i], false)
	}
	r.mu.Lock()
	for app, pods := range r.ready {
		r.least[app] = len(pods)
	}
	r.mu.Unlock()
	w, err := s.admin.CoreV1().Pods(singletonsNamespace).Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	go func() {
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok {
				r.see(p, e.Type == watch.Deleted)
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.blind = true
	}()
	return r
}

func (r *readiness) see(p *corev1.Pod, deleted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	app := p.Labels["app"]
	if r.ready[app] == nil {
		r.ready[app] = map[types.UID]bool{}
	}
	if !deleted && budget.Healthy(p) {
		r.ready[app][p.UID] = true
	} else {
		delete(r.ready[app], p.UID)
	}
	r.least[app] = min(r.least[app], len(r.ready[app]))
}

// leastOf is how few there were; -1 if the witness cannot say.
func (r *readiness) leastOf(app string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blind {
		return -1
	}
	return r.least[app]
}

func (s *site) deployment(t *testing.T, name string) *appsv1.Deployment {
	t.Helper()
	d, err := s.admin.AppsV1().Deployments(singletonsNamespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// hostOf returns the node of the only pod of an app.
func (s *site) hostOf(t *testing.T, app string) string {
	t.Helper()
	list, err := s.admin.CoreV1().Pods(singletonsNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		if budget.Healthy(&p) {
			return p.Spec.NodeName
		}
	}
	t.Fatalf("%s has no Ready pod", app)
	return ""
}

func TestTwinSingletons(t *testing.T) {
	s := newSite(t, twin.Options{Nodes: 4, Scenario: "testdata/singletons.yaml", Wait: true, Reboot: 300 * time.Millisecond, PodReady: 300 * time.Millisecond, PodTermination: 50 * time.Millisecond})
	maintainer := s.operator
	s.employ(t, s.twin.SurgeKubeconfig())
	names := s.names(t)
	all := request()
	all.All = true

	t.Run("found in advance", func(t *testing.T) {
		_, err := s.operator.Prepare(t.Context(), all)
		host := s.hostOf(t, "solo")
		if _, blocked := errors.AsType[*BlockedError](err); !blocked {
			t.Fatalf("got %v", err)
		}
		for _, part := range []string{
			"node " + host + ": pod small/solo-", "budget small/solo allows 0 disruptions at best: minAvailable: 1 wants 1 of 1 pods healthy",
			"pod small/twice-", "2 budgets select it (small/twice, small/twice-again)",
		} {
			if !contains(err.Error(), part) {
				t.Errorf("%q is not in %v", part, err)
			}
		}
		for _, part := range []string{"--surge-singletons", "or leave", "nothing was changed"} {
			if !contains(hint.Of(err), part) {
				t.Errorf("%q is not in the hint %q", part, hint.Of(err))
			}
		}
		s.uncordoned(t)
	})

	t.Run("only pods that the drain would ask for", func(t *testing.T) {
		for what, change := range map[string]func(*Request){
			"other pods":      func(r *Request) { r.Drain.PodSelector = "app=web" },
			"without budgets": func(r *Request) { r.Drain.DisableEviction = true },
			"surged":          func(r *Request) { r.SurgeSingletons = true },
		} {
			r := all
			change(&r)
			p, err := s.operator.Prepare(t.Context(), r)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			if surged := len(p.Surges); surged != map[bool]int{true: 2}[r.SurgeSingletons] {
				t.Errorf("%s: %d pods are surged", what, surged)
			}
			p.Close()
		}
	})

	t.Run("a restart would not help", func(t *testing.T) {
		s.patchDeployment(t, "solo", `{"spec":{"paused":true}}`)
		defer s.patchDeployment(t, "solo", `{"spec":{"paused":null}}`)
		r := all
		r.SurgeSingletons = true
		_, err := s.operator.Prepare(t.Context(), r)
		if _, blocked := errors.AsType[*BlockedError](err); !blocked || !contains(err.Error(), "cannot start its replacement first: it is paused") {
			t.Errorf("got %v", err)
		}
	})

	t.Run("without the right to", func(t *testing.T) {
		r := all
		r.SurgeSingletons = true
		p, err := maintainer.Prepare(t.Context(), r)
		if err == nil {
			p.Close()
		}
		if _, blocked := errors.AsType[*BlockedError](err); !blocked || !contains(err.Error(), "try to restart Deployment small/") || !contains(hint.Of(err), "patch deployments") {
			t.Errorf("%v; hint: %s", err, hint.Of(err))
		}
	})

	t.Run("never without a Ready pod", func(t *testing.T) {
		watched, boots := s.watchReadiness(t), s.watchBoots(t)
		before := map[string]int64{"solo": s.deployment(t, "solo").Generation, "twice": s.deployment(t, "twice").Generation}
		r := all
		r.SurgeSingletons = true
		o := s.maintain(t.Context(), t, r)
		if o.Result != event.ResultDone || o.Status.Count(Maintained) != len(names) {
			t.Fatalf("%+v", o)
		}
		for _, name := range names {
			if n := boots.of(t, s.node(t, name)); n != 1 {
				t.Errorf("node %s was rebooted %d times", name, n)
			}
		}
		for app, generation := range before {
			if least := watched.leastOf(app); least < 1 {
				t.Errorf("%s had %d Ready pods", app, least)
			}
			surged := 0
			for _, n := range o.Status.Nodes {
				for _, x := range n.Surges {
					if x.Name == app {
						surged++
					}
				}
			}
			restarts := int(s.deployment(t, app).Generation - generation)
			t.Logf("%s: %d restarts", app, restarts)
			if restarts == 0 || restarts != surged {
				t.Errorf("%s was restarted %d times, for %d nodes", app, restarts, surged)
			}
		}
		if least := watched.leastOf("web"); least < 2 {
			t.Errorf("web had %d Ready pods, its budget wants 2", least)
		}
		s.uncordoned(t)
	})
}

// uncordoned fails if a node is cordoned.
func (s *site) uncordoned(t *testing.T) {
	t.Helper()
	for _, name := range s.names(t) {
		if s.node(t, name).Spec.Unschedulable {
			t.Errorf("node %s is cordoned", name)
		}
	}
}

func (s *site) patchDeployment(t *testing.T, name, patch string) {
	t.Helper()
	if _, err := s.admin.AppsV1().Deployments(singletonsNamespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestKilledWhileSurging kills a run at every record that it writes while it
// surges a Deployment, and has another process resume it: the Deployment was
// restarted once, and was never without a Ready pod.
func TestKilledWhileSurging(t *testing.T) {
	s := newSite(t, twin.Options{Nodes: 3, Scenario: "testdata/singletons.yaml", Wait: true})
	base := errand{Kubeconfig: s.twin.SurgeKubeconfig()}
	prepare := func(t *testing.T) errand {
		e := base
		e.State = t.TempDir()
		e.Request = request(s.hostOf(t, "solo"))
		e.Request.SurgeSingletons, e.Request.Soak = true, 10*time.Millisecond
		return e
	}
	clean, killed := prepare(t).run(t)
	if killed || clean.Result != event.ResultDone {
		t.Fatalf("without a kill: %+v", clean)
	}
	t.Logf("a run writes %d records", clean.Records)
	watched := s.watchReadiness(t)
	for n := 1; n <= clean.Records; n++ {
		for _, when := range []moment{before, afterwards} {
			t.Run(fmt.Sprintf("%02d %s", n, when), func(t *testing.T) {
				e := prepare(t)
				generation := s.deployment(t, "solo").Generation
				names := e.Request.Names
				s.killAndResume(t, e, names, n, when)
				d := s.deployment(t, "solo")
				if got := d.Generation - generation; got != 1 {
					t.Errorf("it was restarted %d times, the last time at %s", got, d.Spec.Template.Annotations[cluster.RestartedAtAnnotation])
				}
				if s.hostOf(t, "solo") == names[0] {
					t.Errorf("its pod is still on node %s", names[0])
				}
			})
		}
	}
	if least := watched.leastOf("solo"); least < 1 {
		t.Errorf("solo had %d Ready pods", least)
	}
}
