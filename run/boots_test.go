// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/twin/simulated"
)

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
