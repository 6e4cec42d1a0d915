// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

func podOf(kind, owner, name, node string, change func(*corev1.Pod)) *corev1.Pod {
	group := "apps/v1"
	switch kind {
	case "Job":
		group = "batch/v1"
	case "Fleet":
		group = "games.example.com/v1"
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.PodSpec{NodeName: node, RestartPolicy: corev1.RestartPolicyAlways},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue},
		}},
	}
	if owner != "" {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: group, Kind: kind, Name: owner, Controller: ptr.To(true)}}
	}
	if change != nil {
		change(p)
	}
	return p
}

func snapshotOf(t *testing.T, objs ...runtime.Object) *cluster.Snapshot {
	t.Helper()
	s, err := cluster.FromObjects(testTime, objs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func unready(p *corev1.Pod)     { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func terminating(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: testTime} }

func TestWorkloadsOn(t *testing.T) {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To[int32](4)}}
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", Controller: ptr.To(true)},
	}}}
	s := snapshotOf(t, readyNode("a"), readyNode("b"), deployment, set,
		&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}},
		&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "agent"}},
		&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "report"}},
		podOf("ReplicaSet", "web-1", "web-1-a", "a", nil),
		podOf("ReplicaSet", "web-1", "web-1-b", "a", unready),
		podOf("ReplicaSet", "web-1", "web-1-c", "b", nil),
		podOf("ReplicaSet", "web-1", "web-1-d", "b", terminating),
		podOf("StatefulSet", "db", "db-0", "b", nil),
		podOf("DaemonSet", "agent", "agent-a", "a", nil),
		podOf("Fleet", "games", "games-a", "a", nil),
		podOf("Job", "report", "report-a", "a", func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyNever }),
		podOf("ReplicaSet", "old", "old-a", "a", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
		podOf("", "", "bare", "a", nil),
	)
	var got []string
	for _, w := range workloadsOn(s.Node("a")) {
		got = append(got, w.String())
		switch w.Name {
		case "web":
			if w.Healthy != 2 || !w.Read {
				t.Errorf("%+v", w)
			}
		case "games":
			if w.Healthy != 1 || w.Read {
				t.Errorf("%+v", w)
			}
		}
	}
	if want := []string{"Fleet shop/games", "Deployment shop/web"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMissing(t *testing.T) {
	set := func(replicas int32) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "web"}, Spec: appsv1.ReplicaSetSpec{Replicas: &replicas}}
	}
	pods := func(kind, owner string, n int) []runtime.Object {
		var list []runtime.Object
		for i := range n {
			p := podOf(kind, owner, owner+string(rune('a'+i)), "a", nil)
			p.OwnerReferences[0].UID = types.UID(owner)
			list = append(list, p)
		}
		return list
	}
	web := func(healthy int32) []Workload {
		return []Workload{{Kind: "ReplicaSet", Namespace: "shop", Name: "web", UID: "web", Healthy: healthy, Read: true}}
	}
	games := []Workload{{Kind: "Fleet", Namespace: "shop", Name: "games", UID: "games", Healthy: 1}}
	evicted := func(n int32) map[types.UID]int32 { return map[types.UID]int32{"web": n} }
	for _, c := range []struct {
		name       string
		objs       []runtime.Object
		before     []Workload
		since, now map[types.UID]int32
		missing    int
	}{
		{"all back", append(pods("ReplicaSet", "web", 3), set(3)), web(3), evicted(2), evicted(2), 0},
		{"one missing", append(pods("ReplicaSet", "web", 2), set(3)), web(3), evicted(2), evicted(2), 1},
		{"one missing, that another node's drain took since", append(pods("ReplicaSet", "web", 2), set(3)), web(3), evicted(2), evicted(3), 0},
		{"two missing, one of them taken since", append(pods("ReplicaSet", "web", 1), set(3)), web(3), evicted(2), evicted(3), 1},
		{"not whole before either", append(pods("ReplicaSet", "web", 2), set(3)), web(2), nil, nil, 0},
		{"scaled down meanwhile", append(pods("ReplicaSet", "web", 1), set(1)), web(3), nil, nil, 0},
		{"deleted meanwhile", nil, web(3), nil, nil, 0},
		{"of a kind that is not read, and back", pods("Fleet", "games", 1), games, nil, nil, 0},
		{"of a kind that is not read, without any pod", nil, games, nil, nil, 1},
		{"nothing was there", nil, nil, nil, nil, 0},
	} {
		now := &fakeCluster{t: t, objs: c.objs}
		got := missing(now.Workload, c.before, c.since, c.now)
		if len(got) != c.missing {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

func TestTallyCountsEachPodOnce(t *testing.T) {
	s := snapshotOf(t, readyNode("a"), podOf("ReplicaSet", "web", "web-1", "a", nil), podOf("ReplicaSet", "web", "web-2", "a", nil))
	tally := newTally()
	tally.know(s.Node("a"))
	for _, e := range []event.Event{
		{Type: event.PodEvicted, Pod: &event.Pod{UID: string(s.Pod("shop", "web-1").UID)}},
		{Type: event.PodGone, Pod: &event.Pod{UID: string(s.Pod("shop", "web-1").UID)}},
		{Type: event.PodEvicted, Pod: &event.Pod{UID: string(s.Pod("shop", "web-1").UID)}},
		{Type: event.PodEvicted, Pod: &event.Pod{UID: "of nobody"}},
		{Type: event.PodEvicted},
	} {
		tally.Emit(e)
	}
	w := workloadsOn(s.Node("a"))
	if got := tally.mark(w)[w[0].UID]; got != 1 {
		t.Errorf("%d pods were evicted, want 1", got)
	}
}

// A node whose drain begins while another one's pods are not back yet waits for
// as many as that one: what is missing then is not what it has to be content with.
func TestTallyRaisesWhatOthersWaitFor(t *testing.T) {
	tally := newTally()
	web := func(healthy int32) []Workload {
		return []Workload{{Kind: "ReplicaSet", Namespace: "shop", Name: "web", UID: "web", Healthy: healthy}}
	}
	first, second := web(5), web(4)
	tally.begin(first)
	tally.begin(second)
	if first[0].Healthy != 5 || second[0].Healthy != 5 {
		t.Errorf("the first waits for %d, the second for %d, want 5 and 5", first[0].Healthy, second[0].Healthy)
	}
	tally.end(first)
	third := web(3)
	if tally.begin(third); third[0].Healthy != 5 {
		t.Errorf("beside the second, the third waits for %d, want 5", third[0].Healthy)
	}
	tally.end(second)
	tally.end(third)
	alone := web(4)
	if tally.begin(alone); alone[0].Healthy != 4 {
		t.Errorf("alone, one waits for %d, want 4", alone[0].Healthy)
	}
}
