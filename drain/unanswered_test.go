// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// The API server cordons a node, and its answer never comes: the cordon is taken
// back all the same.
func TestNodesUndoesACordonWithoutAnswer(t *testing.T) {
	t.Run("connection lost", func(t *testing.T) { cordonWithoutAnswer(t, false) })
	t.Run("interrupted", func(t *testing.T) { cordonWithoutAnswer(t, true) })
}

func cordonWithoutAnswer(t *testing.T, interrupt bool) {
	t.Helper()
	x := newWorld(t, node("n1"), pod("a", "n1"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	x.client.PrependReactor("patch", "nodes", func(a clienttesting.Action) (handled bool, _ runtime.Object, err error) {
		once.Do(func() {
			var p nodePatch
			if err := json.Unmarshal(a.(clienttesting.PatchAction).GetPatch(), &p); err != nil {
				t.Error(err)
			}
			change(x, &corev1.Node{}, "", "n1", func(n *corev1.Node) {
				n.Spec.Unschedulable = p.Spec["unschedulable"].(bool)
				n.Annotations = map[string]string{cluster.CordonAnnotation: p.Metadata["annotations"].(map[string]any)[cluster.CordonAnnotation].(string)}
			})
			handled, err = true, errors.New("connection lost")
			if interrupt {
				cancel()
				err = context.Canceled
			}
		})
		return handled, nil, err
	})
	got := x.ended(x.drainNodes(ctx, x.drainer(), false, "n1"))
	want := event.ResultFailed
	if interrupt {
		want = event.ResultUnfinished
	}
	if got.err == nil || got.summary.Result != want || len(x.asked) != 0 {
		t.Errorf("%+v", got)
	}
	if x.cordoned() != "" || x.count(event.NodeUncordoned) != 1 {
		t.Errorf("cordoned %q, told:\n%s", x.cordoned(), x.log())
	}
}

// A server that had too much to do has said nothing about the pod: it is asked
// again when the pause is over, whatever its budget's status looks like.
func TestThrottledPodThatPassesItsBudgetBy(t *testing.T) {
	always := func(b *policyv1.PodDisruptionBudget) {
		b.Spec.UnhealthyPodEvictionPolicy = ptr.To(policyv1.AlwaysAllow)
	}
	x := newWorld(t, node("n1"), pdb("web", 0, 1, always), pod("a", "n1", unready))
	x.answer("shop/a", func(n int) error {
		if n == 1 {
			return apierrors.NewTooManyRequests("later", 5)
		}
		return nil
	})
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.untilAsked("shop/a", 1)
	x.step(5 * time.Second)
	if got := x.wait(done); got.err != nil || x.timesAsked("shop/a") != 2 {
		t.Errorf("%+v", got)
	}
}

// slowAnswer holds back the first answer about one pod.
type slowAnswer struct {
	*world
	pod            string
	once           sync.Once
	asked, release chan struct{}
}

func (s *slowAnswer) Evict(ctx context.Context, pod *corev1.Pod, options EvictOptions) error {
	held := false
	if pod.Name == s.pod {
		s.once.Do(func() {
			held = true
			close(s.asked)
			<-s.release
		})
	}
	if held {
		return budgetError(0, "no")
	}
	return s.world.Evict(ctx, pod, options)
}

// The budget that said no is gone by the time its word arrives: nobody waits for it to change.
func TestBudgetDeletedWhileItIsAsked(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 1, 1), pdb("db", 0, 1), pod("web-0", "n1"), pod("db-0", "n1", label("db")))
	slow := &slowAnswer{world: x, pod: "web-0", asked: make(chan struct{}), release: make(chan struct{})}
	done := x.drain(t.Context(), x.drainer(func(o *Options) { o.Evictor = slow }), "n1")
	<-slow.asked
	x.delete(budgetsResource, "shop", "web")
	x.delete(budgetsResource, "shop", "db") // the next piece of news: who heard it has heard the one before
	x.untilAsked("shop/db-0", 1)
	close(slow.release)
	x.untilBlocked("shop/web-0", event.CauseBudget)
	x.step(firstRest)
	if got := x.wait(done); got.err != nil || got.Evicted != 2 {
		t.Errorf("%+v", got)
	}
}
