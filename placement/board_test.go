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
	"k8s.io/apimachinery/pkg/api/resource"
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
	fits, not := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))} //nolint:gosec // the seed is rapid's
		m := newModel(t, g, rapid.IntRange(1, 12).Draw(t, "nodes"), rapid.IntRange(1, 40).Draw(t, "pods"))
		dense := rapid.SampledFrom([]int{0, 3, 256}).Draw(t, "dense")
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
				was.compare(t, before)
			}
			yes, no := m.compare(t, b)
			fits, not = fits+yes, not+no
		}
	})
	t.Logf("%d times a pod fits, %d times not", fits, not)
	if fits < 1000 || not < 1000 {
		t.Errorf("%d times a pod fits, %d times not: too few to mean anything", fits, not)
	}
}

// model is a cluster as objects.
type model struct {
	nodes []*corev1.Node
	pods  []*corev1.Pod
	rest  []runtime.Object
	// pod by name, from the last snapshot: for the classes
	last *cluster.Snapshot
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

func newModel(t *rapid.T, g *generator, nodes, pods int) *model {
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
	_ = t
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

// change does one thing to the model and to the board.
func (m *model) change(t *rapid.T, g *generator, b *placement.Board) {
	p := m.pods[g.IntN(len(m.pods))]
	node := g.IntN(len(m.nodes))
	c, on := m.class(b, p), m.on(p)
	switch what := rapid.SampledFrom([]string{"take", "put", "put", "delete", "out", "in", "new"}).Draw(t, "what"); what {
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

// node is one that lacks this and that.
func (g *generator) node(i int) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%02d", i), Labels: map[string]string{}}}
	label := func(key, value string) {
		if !g.sometimes(8) {
			n.Labels[key] = value
		}
	}
	label(corev1.LabelHostname, n.Name)
	label(corev1.LabelTopologyZone, fmt.Sprintf("zone-%d", g.IntN(3)))
	label("disk", []string{"fast", "slow"}[g.IntN(2)])
	if g.sometimes(5) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "dedicated", Value: "batch", Effect: corev1.TaintEffectNoSchedule})
	}
	if g.sometimes(5) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "odd", Effect: corev1.TaintEffectPreferNoSchedule})
	}
	if g.sometimes(6) {
		n.Spec.Unschedulable = true
	}
	switch g.IntN(10) {
	case 0:
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}
	case 1:
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute})
	}
	n.Status.Allocatable = corev1.ResourceList{}
	for name, amount := range map[corev1.ResourceName]string{
		corev1.ResourceCPU: "4", corev1.ResourceMemory: "4Gi", corev1.ResourcePods: "8", corev1.ResourceEphemeralStorage: "1Gi", "example.com/gpu": "2",
	} {
		n.Status.Allocatable[name] = resource.MustParse(amount)
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourcePods, "example.com/gpu"} {
		if g.sometimes(10) {
			delete(n.Status.Allocatable, name)
		}
	}
	if g.sometimes(10) {
		n.Status.Allocatable = nil
	}
	return n
}

// oddPod is pod with more of what seldom occurs.
func (g *generator) oddPod(i int) *corev1.Pod {
	p := g.pod(i)
	p.Labels["index"] = fmt.Sprint(i)
	requests := p.Spec.Containers[0].Resources.Requests
	if requests != nil && g.sometimes(4) {
		requests["example.com/gpu"] = resource.MustParse("1")
	}
	if requests != nil && g.sometimes(6) {
		requests[corev1.ResourceEphemeralStorage] = resource.MustParse("300Mi")
	}
	if g.sometimes(10) {
		p.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")}
	}
	if g.sometimes(10) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists})
	}
	if a := p.Spec.Affinity.PodAffinity; a != nil && g.sometimes(3) {
		a.RequiredDuringSchedulingIgnoredDuringExecution = append(a.RequiredDuringSchedulingIgnoredDuringExecution, g.oddTerm())
	}
	if a := p.Spec.Affinity.PodAntiAffinity; a != nil && g.sometimes(3) {
		a.RequiredDuringSchedulingIgnoredDuringExecution = append(a.RequiredDuringSchedulingIgnoredDuringExecution, g.oddTerm())
	}
	if len(p.Spec.TopologySpreadConstraints) > 0 {
		c := &p.Spec.TopologySpreadConstraints[0]
		if g.sometimes(4) {
			c.NodeAffinityPolicy = ptr.To(corev1.NodeInclusionPolicyIgnore)
		}
		if g.sometimes(4) {
			c.MaxSkew = 2
		}
		if g.sometimes(4) {
			p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, corev1.TopologySpreadConstraint{
				MaxSkew: 1, TopologyKey: g.topology(), LabelSelector: g.oddSelector(),
				WhenUnsatisfiable: []corev1.UnsatisfiableConstraintAction{corev1.DoNotSchedule, corev1.ScheduleAnyway}[g.IntN(2)],
			})
		}
	}
	return p
}

func (g *generator) oddTerm() corev1.PodAffinityTerm {
	t := corev1.PodAffinityTerm{TopologyKey: g.topology(), LabelSelector: g.oddSelector(), Namespaces: []string{"a", "b", "a"}[:g.IntN(4)]}
	if g.sometimes(4) {
		t.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}
	}
	return t
}

func (g *generator) oddSelector() *metav1.LabelSelector {
	expression := func(key string, operator metav1.LabelSelectorOperator, values ...string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
	}
	switch g.IntN(9) {
	case 0:
		return nil
	case 1:
		return &metav1.LabelSelector{}
	case 2:
		return expression("app", "Nonsense")
	case 3:
		return expression("app", metav1.LabelSelectorOpNotIn, "x")
	case 4:
		return expression("version", metav1.LabelSelectorOpExists)
	case 5:
		return expression("index", metav1.LabelSelectorOpIn, "1", "2", "3")
	}
	return expression("app", metav1.LabelSelectorOpIn, "x", "y")
}

// volume is one that the pod's claim is bound to, of a node or of a zone.
func (g *generator) volume(p *corev1.Pod) *corev1.PersistentVolume {
	terms := []corev1.NodeSelectorTerm{
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{"zone-0", "zone-2"}}}},
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{"node-01"}}}},
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpDoesNotExist}}},
	}
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}
	v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: p.Namespace, Name: p.Name}
	v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms[g.IntN(3):]}}
	if g.sometimes(8) {
		v.Spec.NodeAffinity = nil
	}
	return v
}
