// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestHeldClusterIsAsTheLiveOne(t *testing.T) {
	objs, err := DecodeManifests(strings.NewReader(shopManifests))
	if err != nil {
		t.Fatal(err)
	}
	h, err := Hold(withUIDs(t, objs))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Stop()
	if got, want := draw(h.Snapshot()), draw(watching(t, shopClient(t)).Snapshot()); got != want {
		t.Errorf("held:\n%s\nlive:\n%s", got, want)
	}

	news := h.Subscribe()
	defer news.Close()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "new", UID: "new", ResourceVersion: "1",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "rs", Controller: ptr.To(true)}},
	}}
	later := pod.DeepCopy()
	later.ResourceVersion, later.Spec.NodeName = "2", "node-1"
	for _, err := range []error{h.Put(pod), h.Put(later), h.Remove(later)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range next(t, news, 3) {
		if want := []Verb{Added, Updated, Deleted}[i]; c.Verb != want || c.Kind != KindPod || c.UID != "new" {
			t.Errorf("change %d is %+v, want a pod %s", i, c, want)
		}
		// By now the pod is gone, and those who wait for its workload have to know.
		if got := h.Concerned(c); len(got) != 1 || got[0] != "rs" {
			t.Errorf("change %d concerns %v", i, got)
		}
	}
	if h.Pod("shop", "new") != nil {
		t.Error("what was removed is there")
	}
	for _, err := range []error{h.Put(&corev1.Secret{}), h.Put(nil), h.Remove(&corev1.ConfigMap{})} {
		if err == nil {
			t.Error("took what a snapshot has no place for")
		}
	}
}

// Budgets find their pods by every form of selector, also among others of the
// namespace that they share labels with.
func TestBudgetsOfOneNamespace(t *testing.T) {
	const manifests = `
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: a, labels: {app: web, tier: one}}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: b, labels: {app: web, tier: two}}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: c, labels: {app: api}}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: d}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {namespace: shop, name: label}, spec: {selector: {matchLabels: {app: web}}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {namespace: shop, name: labels}, spec: {selector: {matchLabels: {app: web, tier: two}}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {namespace: shop, name: one-of}, spec: {selector: {matchExpressions: [{key: app, operator: In, values: [web, api]}]}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {namespace: shop, name: only}, spec: {selector: {matchExpressions: [{key: app, operator: In, values: [api]}]}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {namespace: shop, name: not}, spec: {selector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {namespace: shop, name: without}, spec: {selector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {namespace: shop, name: nobody}, spec: {selector: {matchLabels: {app: none}}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {namespace: empty, name: nobody}, spec: {selector: {}}}
`
	s, err := FromManifests(time.Time{}, strings.NewReader(manifests))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"label": "a b", "labels": "b", "one-of": "a b c", "only": "c", "not": "c d", "without": "d", "nobody": ""}
	for _, b := range s.Budgets {
		var names []string
		for _, p := range b.Pods {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != want[b.Name] {
			t.Errorf("%s: %q, want %q", b.Name, got, want[b.Name])
		}
	}
	var of []string
	for _, b := range s.Pod("shop", "b").Budgets {
		of = append(of, b.Name)
	}
	if got := strings.Join(of, " "); got != "label labels one-of" {
		t.Errorf("budgets of b: %s", got)
	}
	if s.Pod("shop", "z") != nil || s.Pod("z", "a") != nil {
		t.Error("found what is not there")
	}
}
