// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
	"refit.dev/refit/twin/twintest"
	"refit.dev/refit/witness"
)

// gather makes a StatefulSet without a budget, whose pods keep apart, and waits until they are ready.
func (g *ground) gather(group, name string, members int32) {
	g.t.Helper()
	labels := map[string]string{"app": name}
	pods := template(group, name, map[string]string{simulated.ReadyAfterAnnotation: "700ms"})
	pods.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{LabelSelector: &metav1.LabelSelector{MatchLabels: labels}, TopologyKey: corev1.LabelHostname},
		},
	}}
	must[*appsv1.StatefulSet](g.t)(g.admin.AppsV1().StatefulSets("default").Create(g.ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &members, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: pods,
			PodManagementPolicy: appsv1.ParallelPodManagement,
		},
	}, metav1.CreateOptions{}))
	g.untilReady(name, int(members))
}

// watched starts a witness. What it saw is judged by the function returned.
func (g *ground) watched() (judge func() *witness.Verdict) {
	g.t.Helper()
	w := must[*witness.Witness](g.t)(witness.Start(g.ctx, witness.Options{
		Config: twintest.Config(g.t, g.tw), AuditLog: g.tw.AuditLog(), ControlPlane: []string{"refit-twin:system"},
	}))
	return func() *witness.Verdict {
		g.t.Helper()
		return must[*witness.Verdict](g.t)(w.Judge(g.ctx))
	}
}

// TestQuorumOnTwin drains three nodes at once, each of which has a member of a
// StatefulSet that no budget guards.
func TestQuorumOnTwin(t *testing.T) {
	g := newGround(t, twin.Options{Nodes: 9, Zones: 1, PodTermination: 200 * time.Millisecond})
	full, spare := []string{"node-01", "node-02", "node-03"}, []string{"node-04", "node-05", "node-06"}
	t.Run("three nodes at once", func(t *testing.T) { threeMembers(g.on(t), full, spare) })
	t.Run("a member that finds no node", func(t *testing.T) { memberWithoutNode(g.on(t)) })
	t.Run("deletion passes by", func(t *testing.T) { deletedMembers(g.on(t)) })
}

func threeMembers(g *ground, full, spare []string) {
	g.cordon(true, spare...) // first: no scheduler sees them marked and free
	g.mark("quorum", append(full, spare...)...)
	g.gather("quorum", "db", 3)
	g.cordon(false, spare...)

	before := g.standing(full...)
	lowest, judge := g.lowest("db"), g.watched()
	summary, err := g.drainer().Nodes(g.ctx, g.nodes(full...), "test", false)
	if err != nil || summary.Result != event.ResultDone {
		g.t.Errorf("%+v, %+v, %v", summary, summary.Counts, err)
	}
	g.evictedOnce(summary.Counts, before)
	g.untilReady("db", 3)
	if low := lowest(); low != 2 {
		g.t.Errorf("%d of 3 members were ready at one time, want 2", low)
	}
	v := judge()
	if v.Evictions != summary.Evicted || len(v.BrokenQuorums) != 0 || len(v.Lapses) != 0 {
		g.t.Errorf("%d evictions, breaches %+v, lapses %+v", v.Evictions, v.BrokenQuorums, v.Lapses)
	}
	g.blocked(event.CauseQuorum, "db-")
	g.cordon(false, full...)
}

// A member that was evicted finds no node: the other one stays where it is.
func memberWithoutNode(g *ground) {
	group := []string{"node-07", "node-08"}
	g.mark("narrow", append(group, "node-09")...)
	g.gather("narrow", "kv", 3)
	before, lowest := g.standing(group...), g.lowest("kv")
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	done := make(chan event.Event, 1)
	go func() {
		summary, _ := g.drainer().Nodes(ctx, g.nodes(group...), "test", false)
		done <- summary
	}()
	b := g.blocked(event.CauseNoRoom, "kv-")
	if !strings.HasPrefix(b.Message, "StatefulSet default/kv keeps its quorum: kv-") {
		g.t.Errorf("%+v", b)
	}
	cancel()
	summary := <-done
	low := lowest()
	evicted := g.evictedPods()
	if len(evicted) == 0 || summary.Evicted != len(evicted) || len(summary.Remaining) != 1 || summary.Remaining[0].Blocker.Cause != event.CauseNoRoom {
		g.t.Fatalf("%d pods were evicted: %+v, %+v", len(evicted), summary, summary.Counts)
	}
	// The other one, unless the scheduler had not seen the cordon yet and put the first
	// one back: then that one stays, and the other one may have gone.
	for uid := range before {
		if !evicted[uid] && summary.Remaining[0].Pod.UID != uid {
			g.t.Errorf("pod %s was neither evicted nor left alone: %+v", uid, summary.Remaining)
		}
	}
	if len(before) != 2 || low != 2 {
		g.t.Errorf("%d pods were on the nodes; %d of 3 members were ready at one time, want 2", len(before), low)
	}
	g.cordon(false, group...) // the drained one kept its cordon
	g.untilReady("kv", 3)
}

// Who disables evictions passes by quorums as by budgets, and the witness notices.
func deletedMembers(g *ground) {
	judge := g.watched()
	var nodes []string
	for _, pod := range g.pods("db") {
		nodes = append(nodes, pod.Spec.NodeName)
	}
	if len(nodes) != 3 {
		g.t.Fatalf("members are on %v", nodes)
	}
	before := g.standing(nodes...)
	summary, err := New(g.admin, g.w, Options{IgnoreDaemonSets: true, DisableEviction: true, GracePeriod: ptr.To[int64](1)}, g).
		Nodes(g.ctx, g.nodes(nodes...), "test", false)
	if err != nil || len(before) != 3 {
		g.t.Errorf("%d pods, %+v, %+v, %v", len(before), summary, summary.Counts, err)
	}
	g.evictedOnce(summary.Counts, before)
	g.untilReady("db", 3)
	v := judge()
	if len(v.BrokenQuorums) == 0 || v.BrokenQuorums[0].Set != "default/db" || v.BrokenQuorums[0].How != witness.Deletion {
		g.t.Errorf("breaches %+v, deletions %s", v.BrokenQuorums, fmt.Sprint(v.Deletions))
	}
	g.cordon(false, nodes...)
}
