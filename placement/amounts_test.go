// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/placement"
)

// twoNodes have a pod each; node-2 does not tell what it has.
const twoNodes = `
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {allocatable: {cpu: "2", memory: 2000Mi, pods: "3", example.com/gpu: "2"}}
---
apiVersion: v1
kind: Node
metadata: {name: node-2}
---
apiVersion: v1
kind: Pod
metadata: {name: big, namespace: shop, labels: {app: big}}
spec:
  nodeName: node-1
  containers: [{name: c, resources: {requests: {cpu: 900m, memory: 300Mi, ephemeral-storage: 1k, example.com/gpu: "1"}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: shop, labels: {app: bare}}
spec: {nodeName: node-2, containers: [{name: c}]}
`

func board(t *testing.T, manifests string) (*cluster.Snapshot, *placement.Board) {
	t.Helper()
	s, err := cluster.FromManifests(time.Time{}, strings.NewReader(manifests))
	if err != nil {
		t.Fatal(err)
	}
	return s, placement.NewBoard(s)
}

func TestBoardAmounts(t *testing.T) {
	s, b := board(t, twoNodes)
	big, bare := b.Class(s.Pod("shop", "big")), b.Class(s.Pod("shop", "bare"))
	if want := (placement.Resources{MilliCPU: 900, Memory: 300 << 20, Ephemeral: 1000, Pods: 1, Extra: []int64{1}}); !reflect.DeepEqual(b.Requests(big), want) {
		t.Errorf("requested: %+v", b.Requests(big))
	}
	if want := []corev1.ResourceName{"example.com/gpu"}; !reflect.DeepEqual(b.Extra(), want) {
		t.Errorf("extra: %v", b.Extra())
	}
	free := func(want placement.Resources) {
		t.Helper()
		if got := b.Free(0); !reflect.DeepEqual(got, want) {
			t.Errorf("free: %+v, want %+v", got, want)
		}
	}
	load := func(node int, want float64) {
		t.Helper()
		if got := b.Load(node); math.Abs(got-want) > 1e-9 {
			t.Errorf("load of node %d: %v, want %v", node, got, want)
		}
	}
	free(placement.Resources{MilliCPU: 1100, Memory: 1700 << 20, Ephemeral: -1000, Pods: 2, Extra: []int64{1}})
	load(0, (0.45+0.15)/2)
	load(1, 0) // of an unknown size
	b.Put(bare, 0)
	free(placement.Resources{MilliCPU: 1100, Memory: 1700 << 20, Ephemeral: -1000, Pods: 1, Extra: []int64{1}})
	load(0, (0.5+0.25)/2) // as if it requested 100m and 200Mi
	b.Put(big, 0)
	b.Put(big, 0)
	free(placement.Resources{MilliCPU: -700, Memory: 1100 << 20, Ephemeral: -3000, Pods: -1, Extra: []int64{-1}})
	load(0, (1+0.55)/2)
	if b.Fits(bare, 0) || !b.Fits(bare, 1) || !b.Fits(big, 1) {
		t.Error("there are too many pods on node-1 and no limits on node-2")
	}
}

func TestTakeWhatIsNotThere(t *testing.T) {
	s, b := board(t, twoNodes)
	big := b.Class(s.Pod("shop", "big"))
	if b.Take(big, 1) || b.Take(big.Leaving(), 0) {
		t.Error("took a pod that is not there")
	}
	if !b.Take(big, 0) || b.Take(big, 0) {
		t.Error("the pod can be taken once")
	}
	if got := b.Free(0).Pods; got != 3 {
		t.Errorf("room for %d pods", got)
	}
}

// TestCoarse: a selector that looks at labels which nothing looked at before finds
// pods of one class that it would have to tell apart.
func TestCoarse(t *testing.T) {
	s, b := board(t, twoNodes)
	if b.Class(s.Pod("shop", "big")) == b.Class(s.Pod("shop", "bare")) {
		t.Fatal("different requests, one class")
	}
	pod := &cluster.Pod{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "new", Namespace: "shop", Labels: map[string]string{"app": "new"}}}}
	b.Class(pod)
	if b.Coarse() {
		t.Error("a pod without selectors")
	}
	pod.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{TopologyKey: "x", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "big"}}},
	}}}
	b.Class(pod)
	if !b.Coarse() {
		t.Error("a pod that looks at a label of others")
	}
}

// TestClonesInParallel is for the race detector.
func TestClonesInParallel(t *testing.T) {
	s, b := board(t, twoNodes)
	big, bare := b.Class(s.Pod("shop", "big")), b.Class(s.Pod("shop", "bare"))
	var group sync.WaitGroup
	for range 4 {
		clone := b.Clone()
		group.Go(func() {
			for range 100 {
				clone.Take(big, 0)
				clone.SetOut(0, !clone.Fits(bare, 0))
				clone.Put(big, 0)
			}
		})
	}
	group.Wait()
	if !b.Fits(bare, 0) || b.Free(0).Pods != 2 {
		t.Error("the board changed with its clones")
	}
}
