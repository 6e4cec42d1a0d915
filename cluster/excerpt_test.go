// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func podUIDs(pods []*Pod) []types.UID {
	var uids []types.UID
	for _, p := range pods {
		uids = append(uids, p.UID)
	}
	slices.Sort(uids)
	return uids
}

func sameWorkload(t *testing.T, got, want *Workload) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is not found", want.Object())
		return
	}
	if got.Object() != want.Object() || got.Group != want.Group || got.UID != want.UID || got.Found != want.Found ||
		got.Desired != want.Desired || got.Ready != want.Ready || (got.Controller == nil) != (want.Controller == nil) {
		t.Errorf("got %+v, want %+v", *got, *want)
	}
	if g, w := podUIDs(got.Pods), podUIDs(want.Pods); !slices.Equal(g, w) {
		t.Errorf("%s has the pods %v, want %v", want.Object(), g, w)
	}
}

// What is looked up in the caches is what a Snapshot of them shows.
func TestExcerptsAgreeWithTheSnapshot(t *testing.T) {
	w := watching(t, shopClient(t))
	s := w.Snapshot()
	for _, want := range s.Nodes {
		got := w.Around(want.Name)
		if got == nil || got.Node != want.Node || !slices.Equal(podUIDs(got.Pods), podUIDs(want.Pods)) {
			t.Fatalf("around %s: %+v", want.Name, got)
		}
		for i, pod := range got.Pods {
			if pod.Host != got || len(pod.Controllers) != len(want.Pods[i].Controllers) {
				t.Errorf("pod %s: %+v", pod.Name, pod)
				continue
			}
			for j, c := range pod.Controllers {
				sameWorkload(t, c, want.Pods[i].Controllers[j])
			}
		}
	}
	for _, want := range s.Pods {
		got := w.Tied(want.Namespace, want.Name)
		if got == nil || got.Pod != want.Pod || (got.Host == nil) != (want.Host == nil) || got.Host != nil && got.Host.Node != want.Host.Node ||
			len(got.Controllers) != len(want.Controllers) || len(got.Volumes) != len(want.Volumes) {
			t.Errorf("pod %s: %+v", want.Name, got)
			continue
		}
		for i, c := range got.Controllers {
			above := want.Controllers[i]
			if c.UID != above.UID || c.Desired != above.Desired || c.Found != above.Found || above.Found && w.Controller(c.UID).Kind != c.Kind {
				t.Errorf("pod %s is controlled by %+v, want %+v", want.Name, *c, *above)
			}
		}
		for i, v := range got.Volumes {
			if v.PersistentVolume != want.Volumes[i].PersistentVolume {
				t.Errorf("pod %s has the volume %s, want %s", want.Name, v.Name, want.Volumes[i].Name)
			}
		}
	}
	for _, want := range s.Workloads {
		if want.Found || len(want.Pods) > 0 {
			sameWorkload(t, w.Workload(want.UID), want)
		}
	}
	if w.Tied("shop", "nobody") != nil || w.Controller("nobody") != nil || w.Volume("nobody") != nil {
		t.Error("found what is not there")
	}
	if w.Around("nobody") != nil || w.Workload("nobody") != nil {
		t.Error("found what is not there")
	}
}

func TestWhomAChangeConcerns(t *testing.T) {
	w := watching(t, shopClient(t))
	s := w.Snapshot()
	for _, p := range s.Pods {
		var want []types.UID
		for _, c := range p.Controllers {
			want = append(want, c.UID)
		}
		c := Change{Kind: KindPod, Namespace: p.Namespace, Name: p.Name, UID: p.UID}
		if len(want) > 0 {
			c.Owner = want[0]
		}
		if got := w.Concerned(c); !slices.Equal(got, want) {
			t.Errorf("pod %s concerns %v, want %v", p.Name, got, want)
		}
	}
	for _, x := range s.Workloads {
		c := Change{Kind: KindWorkload, UID: x.UID}
		if x.Controller != nil {
			c.Owner = x.Controller.UID
		}
		got := w.Concerned(c)
		if len(got) == 0 || got[0] != x.UID || x.Controller != nil && x.Found && !slices.Contains(got, x.Controller.UID) {
			t.Errorf("%s concerns %v", x.Object(), got)
		}
	}
	if got := w.Concerned(Change{Kind: KindNode, Name: "node-1", UID: "node-1"}); got != nil {
		t.Errorf("a node concerns %v", got)
	}
}
