// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"refit.dev/refit/cluster"
	"refit.dev/refit/placement"
)

// TestABoardAgreesWithARoom plays with pods and nodes on a Board. What it says
// must be what a Room says of a cluster that is in this state.
func TestABoardAgreesWithARoom(t *testing.T) {
	for _, dense := range []int{0, 3, 256} {
		t.Run(fmt.Sprintf("counters for up to %d domains", dense), func(t *testing.T) { play(t, dense) })
	}
}

func play(t *testing.T, dense int) {
	fits, not := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))} //nolint:gosec // the seed is rapid's
		m := newModel(g, rapid.IntRange(1, 12).Draw(t, "nodes"), rapid.IntRange(1, 40).Draw(t, "pods"))
		b := placement.NewBoardDense(m.snapshot(), dense)
		m.compare(t, b)
		for range rapid.IntRange(0, 6).Draw(t, "rounds") {
			before, was := b, m.clone()
			b = b.Clone()
			for range rapid.IntRange(1, 30).Draw(t, "changes") {
				m.change(t, g, b)
			}
			if b.Coarse() {
				b = placement.NewBoardDense(m.snapshot(), dense)
			} else {
				was.compare(t, before) // nothing has changed there
			}
			yes, no := m.compare(t, b)
			fits, not = fits+yes, not+no
			if g.sometimes(3) && !before.Coarse() {
				b, m = before, was // go on with the original
			}
		}
	})
	t.Logf("%d times a pod fits, %d times not", fits, not)
	if fits < 100 || not < 100 {
		t.Errorf("%d times a pod fits, %d times not: too few to mean anything", fits, not)
	}
}

// model is a cluster as objects.
type model struct {
	nodes []*corev1.Node
	pods  []*corev1.Pod
	rest  []runtime.Object
	last  *cluster.Snapshot
}

func (m *model) clone() *model {
	c := &model{rest: m.rest}
	for _, n := range m.nodes {
		c.nodes = append(c.nodes, n.DeepCopy())
	}
	for _, p := range m.pods {
		c.pods = append(c.pods, p.DeepCopy())
	}
	return c
}

func (m *model) snapshot() *cluster.Snapshot {
	objs := slices.Clone(m.rest)
	for _, n := range m.nodes {
		objs = append(objs, n)
	}
	for _, p := range m.pods {
		objs = append(objs, p)
	}
	s, err := cluster.FromObjects(time.Time{}, objs...)
	if err != nil {
		panic(err)
	}
	m.last = s
	return s
}

func (m *model) number(node string) int {
	return slices.IndexFunc(m.nodes, func(n *corev1.Node) bool { return n.Name == node })
}

func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// class is that of the pod as it stands on the board.
func (m *model) class(b *placement.Board, p *corev1.Pod) placement.Class {
	c := b.Class(m.last.Pod(p.Namespace, p.Name))
	if p.DeletionTimestamp != nil {
		c = c.Leaving()
	}
	return c
}

func (m *model) on(p *corev1.Pod) int {
	if finished(p) {
		return -1
	}
	return m.number(p.Spec.NodeName)
}

// compare asks the board and a room about every pod and every node.
func (m *model) compare(t *rapid.T, b *placement.Board) (fits, not int) {
	s := m.snapshot()
	room := placement.New(s)
	for _, p := range m.pods {
		c, on := m.class(b, p), m.on(p)
		if on >= 0 && !b.Take(c, on) {
			t.Fatalf("%s is not on node %d", p.Name, on)
		}
		for i, n := range s.Nodes {
			why := room.Fits(s.Pod(p.Namespace, p.Name).Pod, n)
			if b.Fits(c, i) != (len(why) == 0) {
				t.Fatalf("%s on %s: the board says %t, the room %q\n%s", p.Name, n.Name, b.Fits(c, i), why, m.draw(p))
			}
			if len(why) == 0 {
				fits++
				if !b.Static(c, i) {
					t.Fatalf("%s fits %s, but not for good", p.Name, n.Name)
				}
			} else {
				not++
			}
		}
		if on >= 0 {
			b.Put(c, on)
		}
	}
	return fits, not
}

func (m *model) draw(p *corev1.Pod) string {
	var b strings.Builder
	spec, err := json.Marshal(p.Spec)
	fmt.Fprintf(&b, "%s %v %s %v\n", p.Name, p.Labels, spec, err)
	for _, n := range m.nodes {
		fmt.Fprintf(&b, "%s %v %v out=%v\n", n.Name, n.Labels, n.Spec.Taints, n.Spec.Unschedulable)
	}
	for _, p := range m.pods {
		fmt.Fprintf(&b, "%s/%s %v on %q deleted=%v %s\n", p.Namespace, p.Name, p.Labels, p.Spec.NodeName, p.DeletionTimestamp != nil, p.Status.Phase)
	}
	return b.String()
}

func newModel(g *generator, nodes, pods int) *model {
	m := &model{}
	for _, name := range []string{"a", "b"} {
		m.rest = append(m.rest, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": name}}})
	}
	for i := range nodes {
		m.nodes = append(m.nodes, g.node(i))
	}
	for i := range pods {
		m.add(g, i)
	}
	return m
}

// add makes a pod, mostly bound to a node, whether it fits there or not.
func (m *model) add(g *generator, i int) *corev1.Pod {
	p := g.oddPod(i)
	switch {
	case g.sometimes(6):
	case g.sometimes(20):
		p.Spec.NodeName = "gone"
	default:
		p.Spec.NodeName = m.nodes[g.IntN(len(m.nodes))].Name
	}
	if g.sometimes(8) {
		p.DeletionTimestamp = &metav1.Time{}
	}
	if g.sometimes(10) {
		p.Status.Phase = corev1.PodSucceeded
	}
	if g.sometimes(8) {
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}}
		set.Spec.Template.Spec.NodeName = fmt.Sprintf("node-%02d", g.IntN(4))
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: p.Name, Controller: ptr.To(true)}}
		m.rest = append(m.rest, set)
	}
	if g.sometimes(6) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: p.Name}}}}
		m.rest = append(m.rest, g.volume(p))
	}
	m.pods = append(m.pods, p)
	return p
}

// trouble changes what comes and goes of a node.
func (g *generator) trouble(n *corev1.Node) {
	n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return strings.HasPrefix(t.Key, "node.kubernetes.io/") })
	for _, key := range []string{corev1.TaintNodeUnschedulable, corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if g.sometimes(4) {
			effect := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute}[g.IntN(2)]
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effect, TimeAdded: &metav1.Time{}})
		}
	}
	if g.sometimes(3) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "soft", Effect: corev1.TaintEffectPreferNoSchedule})
	}
	n.Spec.Unschedulable = g.sometimes(3)
	ready := []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown}[g.IntN(4)]
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
}

// change does one thing to the model and to the board.
func (m *model) change(t *rapid.T, g *generator, b *placement.Board) {
	p := m.pods[g.IntN(len(m.pods))]
	node := g.IntN(len(m.nodes))
	c, on := m.class(b, p), m.on(p)
	switch what := rapid.SampledFrom([]string{"take", "put", "put", "delete", "out", "in", "renew", "renew", "new"}).Draw(t, "what"); what {
	case "take":
		if on >= 0 {
			b.Take(c, on)
			p.Spec.NodeName = ""
		}
	case "put":
		if !finished(p) {
			if on >= 0 {
				b.Take(c, on)
			}
			b.Put(c, node)
			p.Spec.NodeName = m.nodes[node].Name
		}
	case "delete":
		if on >= 0 && p.DeletionTimestamp == nil {
			b.Take(c, on)
			b.Put(c.Leaving(), on)
		}
		p.DeletionTimestamp = &metav1.Time{}
	case "out":
		b.SetOut(node, true)
		m.nodes[node].Spec.Unschedulable = true
	case "in":
		b.SetOut(node, false)
		n := m.nodes[node]
		n.Spec.Unschedulable = false
		n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return strings.HasPrefix(t.Key, "node.kubernetes.io/") })
		n.Status.Conditions = nil
	case "renew":
		n := m.nodes[node].DeepCopy()
		other := n.DeepCopy()
		other.Labels = map[string]string{"another": "node"}
		if b.Renew(node, other) {
			t.Fatalf("%s has other labels, and is taken for the same", n.Name)
		}
		g.trouble(n)
		if !b.Renew(node, n) {
			t.Fatalf("%s is taken for another node: %+v", n.Name, n.Spec)
		}
		m.nodes[node] = n
	case "new":
		p := m.add(g, len(m.pods))
		m.snapshot()
		if on := m.on(p); on >= 0 {
			b.Put(m.class(b, p), on)
		} else {
			b.Class(m.last.Pod(p.Namespace, p.Name))
		}
	}
}
