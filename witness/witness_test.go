// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
)

var epoch = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// history makes the streams of a cluster that exists only on paper. Every
// change takes the next revision.
type history struct {
	t        *testing.T
	revision uint64
	ledgers  map[string]*ledger
	audit    *auditLog
}

// newHistory begins with a Deployment of three pods on three nodes, and a budget for it.
func newHistory(t *testing.T, spec policyv1.PodDisruptionBudgetSpec) *history {
	h := &history{t: t, revision: 100, ledgers: map[string]*ledger{}}
	h.audit = &auditLog{path: "audit.log", controlPlane: func(user string, _ []string) bool { return controlPlane(user) }}
	d := &appsv1.Deployment{ObjectMeta: h.meta("cart", ""), Spec: appsv1.DeploymentSpec{Replicas: ptr.To[int32](3)}}
	rs := &appsv1.ReplicaSet{ObjectMeta: h.meta("cart-1", "Deployment/cart"), Spec: appsv1.ReplicaSetSpec{Replicas: ptr.To[int32](3)}}
	spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "cart"}}
	pdb := &policyv1.PodDisruptionBudget{ObjectMeta: h.meta("cart", ""), Spec: spec}
	pdb.Generation = 1
	h.list("deployments", d)
	h.list("replicasets", rs)
	h.list("poddisruptionbudgets", pdb)
	h.list("pods", h.pod("a"), h.pod("b"), h.pod("c"))
	h.list("nodes", node("n1"), node("n2"), node("n3"))
	return h
}

func (h *history) meta(name, owner string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: types.UID("uid-of-" + name), ResourceVersion: fmt.Sprint(h.revision),
		Labels: map[string]string{"app": "cart"},
	}
	if kind, of, ok := strings.Cut(owner, "/"); ok {
		m.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: of, UID: types.UID("uid-of-" + of), Controller: ptr.To(true)}}
	}
	return m
}

func (h *history) pod(name string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: h.meta(name, "ReplicaSet/cart-1")}
	p.UID = types.UID("uid-of-pod-" + name)
	p.Spec.NodeName = "n1"
	p.Status.Phase = corev1.PodRunning
	setReady(p, true)
	return p
}

func setReady(p *corev1.Pod, ready bool) {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	p.Status.Conditions = append([]corev1.PodCondition{{Type: corev1.PodReady, Status: status}}, others(p.Status.Conditions)...)
}

func others(all []corev1.PodCondition) []corev1.PodCondition {
	return slices.DeleteFunc(slices.Clone(all), func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
}

func node(name string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-of-" + name), ResourceVersion: "100"}}
	n.Status.NodeInfo.BootID = "boot-1"
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	return n
}

func (h *history) list(kind string, objects ...metav1.Object) {
	h.ledgers[kind] = newLedger(kind, h.revision, objects)
}

func (h *history) add(kind string, verb watch.EventType, o metav1.Object) {
	h.t.Helper()
	h.revision++
	o.SetResourceVersion(fmt.Sprint(h.revision))
	if err := h.ledgers[kind].add(change{h.revision, epoch.Add(time.Duration(h.revision) * time.Second), verb, o}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) modifyPod(p *corev1.Pod, change func(*corev1.Pod)) *corev1.Pod {
	p = p.DeepCopy()
	change(p)
	h.add("pods", watch.Modified, p)
	return p
}

// evict does what the API server does, and writes it into the audit log.
func (h *history) evict(p *corev1.Pod, user string) *corev1.Pod {
	p = h.modifyPod(p, func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI",
		})
	})
	h.log("create", "eviction", p, user, 201)
	return h.end(p)
}

func (h *history) remove(p *corev1.Pod, user string) *corev1.Pod {
	h.log("delete", "", p, user, 200)
	return h.end(p)
}

func (h *history) end(p *corev1.Pod) *corev1.Pod {
	return h.modifyPod(p, func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: epoch} })
}

func (h *history) log(verb, subresource string, p *corev1.Pod, user string, code int) {
	h.t.Helper()
	h.logReceived(epoch, verb, subresource, p, user, code)
}

func (h *history) logReceived(at time.Time, verb, subresource string, p *corev1.Pod, user string, code int) {
	h.t.Helper()
	options := fmt.Sprintf(`{"preconditions":{"uid":%q}}`, p.UID)
	if subresource == "eviction" {
		options = `{"deleteOptions":` + options + `}`
	}
	line := fmt.Sprintf(`{"stage":"ResponseComplete","requestReceivedTimestamp":%q,"verb":%q,"user":{"username":%q},`+
		`"objectRef":{"resource":"pods","subresource":%q,"namespace":%q,"name":%q},"responseStatus":{"code":%d},"requestObject":%s}`+"\n",
		at.Format(time.RFC3339Nano), verb, user, subresource, p.Namespace, p.Name, code, options)
	if err := h.audit.parse([]byte(line)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) play() (*replay, error) {
	var ledgers []*ledger
	for _, l := range h.ledgers {
		ledgers = append(ledgers, l)
	}
	return play(ledgers, epoch, h.revision)
}

func (h *history) judge() (*Verdict, error) {
	r, err := h.play()
	if err != nil {
		return nil, err
	}
	by, open := explain(r.disruptions, h.audit.asks)
	if len(open) > 0 {
		return nil, fmt.Errorf("not explained: %s", name(open[0].pod))
	}
	if err := r.contradictions(h.audit.asks); err != nil {
		return nil, err
	}
	return r.judge(by, h.audit.asks)
}

func (h *history) mustJudge() *Verdict {
	h.t.Helper()
	v, err := h.judge()
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func unavailable(n int) policyv1.PodDisruptionBudgetSpec {
	return policyv1.PodDisruptionBudgetSpec{MaxUnavailable: ptr.To(intstr.FromInt(n))}
}

const refit, controller = "refit", "system:serviceaccount:kube-system:replicaset-controller"

func TestBudgetKept(t *testing.T) {
	h := newHistory(t, unavailable(1))
	a := h.evict(h.pod("a"), refit)
	h.log("create", "eviction", h.pod("b"), refit, 429)
	d := h.pod("d")
	setReady(d, false)
	h.add("pods", watch.Added, d)
	h.add("pods", watch.Deleted, a.DeepCopy())
	h.modifyPod(d, func(p *corev1.Pod) { setReady(p, true) })
	h.evict(h.pod("b"), refit)
	v := h.mustJudge()
	if len(v.Broken) != 0 || len(v.Dips) != 0 || len(v.Faults()) != 0 {
		t.Errorf("a budget that was kept: %+v", v)
	}
	if v.Evictions != 2 || v.Refused != 1 || v.Replicas != 3 || v.Moves[0] != (Moves{"Deployment shop/cart", 2}) {
		t.Errorf("%d evictions, %d refused, %d replicas, moves %v", v.Evictions, v.Refused, v.Replicas, v.Moves)
	}
}

func TestBudgetOverdrawn(t *testing.T) {
	for _, c := range []struct {
		what   string
		spec   policyv1.PodDisruptionBudgetSpec
		breaks int // of three evictions, one after the other, without replacements
	}{
		{"maxUnavailable 0", unavailable(0), 3},
		{"maxUnavailable 1", unavailable(1), 2},
		{"maxUnavailable 33%: 0.99 pods, rounded up to 1", policyv1.PodDisruptionBudgetSpec{MaxUnavailable: ptr.To(intstr.FromString("33%"))}, 2},
		{"minAvailable 34%: 1.02 pods, rounded up to 2", policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr.To(intstr.FromString("34%"))}, 2},
		{"minAvailable 33%: 0.99 pods, rounded up to 1", policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr.To(intstr.FromString("33%"))}, 1},
		{"minAvailable 1", policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr.To(intstr.FromInt(1))}, 1},
		{"minAvailable 4", policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr.To(intstr.FromInt(4))}, 3},
		{"maxUnavailable 9", unavailable(9), 0},
		{"nothing", policyv1.PodDisruptionBudgetSpec{}, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHistory(t, c.spec)
			for _, name := range []string{"a", "b", "c"} {
				h.add("pods", watch.Deleted, h.evict(h.pod(name), refit).DeepCopy())
			}
			v := h.mustJudge()
			if len(v.Broken) != c.breaks || v.BrokenBudgets() != min(1, c.breaks) {
				t.Errorf("broken %d times, want %d: %+v", len(v.Broken), c.breaks, v.Broken)
			}
			if c.breaks > 0 && !strings.Contains(strings.Join(v.Faults(), "\n"), "budget shop/cart was broken: the eviction of pod shop/") {
				t.Errorf("faults %q", v.Faults())
			}
		})
	}
}

// TestExpectedPodsAreThoseWanted: replicas that were never made count as missing.
func TestExpectedPodsAreThoseWanted(t *testing.T) {
	h := newHistory(t, unavailable(1))
	d := h.ledgers["deployments"].initial[0].(*appsv1.Deployment).DeepCopy()
	d.Spec.Replicas = ptr.To[int32](4)
	h.add("deployments", watch.Modified, d)
	h.evict(h.pod("a"), refit)
	v := h.mustJudge()
	if len(v.Broken) != 1 || v.Broken[0].Healthy != 2 || v.Broken[0].Required != 3 {
		t.Errorf("broken: %+v", v.Broken)
	}
}

func TestDeletionAroundTheEvictionAPI(t *testing.T) {
	h := newHistory(t, unavailable(1))
	h.remove(h.pod("a"), refit)
	h.remove(h.pod("b"), refit)
	h.remove(h.pod("c"), controller)
	v := h.mustJudge()
	if v.Evictions != 0 || len(v.Deletions) != 2 || v.Deletions[0].By != refit {
		t.Errorf("%d evictions, deletions %+v", v.Evictions, v.Deletions)
	}
	if len(v.Broken) != 1 || v.Broken[0].Pod != "shop/b" || v.Broken[0].How != Deletion || v.BrokenBudgets() != 1 {
		t.Errorf("broken %+v", v.Broken)
	}
	if len(v.Faults()) != 3 {
		t.Errorf("faults %q", v.Faults())
	}
}

// TestDip: what fails by itself blames nobody; whoever evicts then is to blame.
func TestDip(t *testing.T) {
	h := newHistory(t, unavailable(0))
	a := h.modifyPod(h.pod("a"), func(p *corev1.Pod) { setReady(p, false) })
	h.modifyPod(a, func(p *corev1.Pod) { setReady(p, true) })
	h.remove(h.pod("b"), controller)
	v := h.mustJudge()
	if len(v.Broken) != 0 || len(v.Faults()) != 0 {
		t.Errorf("somebody is blamed: %+v", v)
	}
	if len(v.Dips) != 2 || v.Dips[0].Lowest != 2 || v.Dips[0].Required != 3 ||
		v.Dips[0].Until.Sub(v.Dips[0].Since) != time.Second || !v.Dips[1].Until.IsZero() {
		t.Errorf("dips %+v", v.Dips)
	}
	h.evict(h.pod("c"), refit)
	if v := h.mustJudge(); len(v.Broken) != 1 || v.Broken[0].Pod != "shop/c" {
		t.Errorf("broken %+v", v.Broken)
	}
}

// TestUnhealthyPod: to evict a pod that is not healthy takes nothing away.
func TestUnhealthyPod(t *testing.T) {
	h := newHistory(t, unavailable(0))
	h.evict(h.modifyPod(h.pod("a"), func(p *corev1.Pod) { setReady(p, false) }), refit)
	if v := h.mustJudge(); len(v.Broken) != 0 || v.Evictions != 1 {
		t.Errorf("%d evictions, broken %+v", v.Evictions, v.Broken)
	}
}

// TestOrderIsThatOfRevisions: the budget was relaxed before the eviction, although
// its stream is another one.
func TestOrderIsThatOfRevisions(t *testing.T) {
	h := newHistory(t, unavailable(0))
	pdb := h.ledgers["poddisruptionbudgets"].initial[0].(*policyv1.PodDisruptionBudget).DeepCopy()
	relaxed := pdb.DeepCopy()
	relaxed.Spec.MaxUnavailable, relaxed.Generation = ptr.To(intstr.FromInt(1)), 2
	h.add("poddisruptionbudgets", watch.Modified, relaxed)
	a := h.evict(h.pod("a"), refit)
	h.add("pods", watch.Deleted, a.DeepCopy())
	tight := pdb.DeepCopy()
	tight.Generation = 3
	h.add("poddisruptionbudgets", watch.Modified, tight)
	v := h.mustJudge()
	if len(v.Broken) != 0 || len(v.Dips) != 1 {
		t.Errorf("broken %+v, dips %+v", v.Broken, v.Dips)
	}
	h.evict(h.pod("b"), refit)
	if v := h.mustJudge(); len(v.Broken) != 1 {
		t.Errorf("broken %+v", v.Broken)
	}
}

// How many nodes of one zone were out is counted for each zone, at its own moment.
func TestBusiestZones(t *testing.T) {
	h := newHistory(t, unavailable(1))
	nodes := map[string]*corev1.Node{}
	for name, zone := range map[string]string{"n1": "a", "n2": "a", "n3": "b", "n4": ""} {
		nodes[name] = node(name)
		nodes[name].Labels = map[string]string{corev1.LabelTopologyZone: zone}
		if zone == "" {
			nodes[name].Labels = nil
		}
	}
	h.list("nodes", nodes["n1"], nodes["n2"], nodes["n3"], nodes["n4"])
	cordon := func(name string, cordoned bool) {
		n := nodes[name].DeepCopy()
		n.Spec.Unschedulable = cordoned
		nodes[name] = n
		h.add("nodes", watch.Modified, n)
	}
	cordon("n1", true)
	cordon("n3", true) // two are out, of two zones
	cordon("n3", false)
	cordon("n1", false)
	v := h.mustJudge()
	want := `[{a {2026-11-22 10:01:41 +0000 UTC 1 [n1]}} {b {2026-11-22 10:01:42 +0000 UTC 1 [n3]}}]`
	if got := fmt.Sprint(v.BusiestZones[1:]); got != want || v.BusiestZones[0].Zone != "" || v.BusiestZones[0].Out != 0 || v.Busiest.Out != 2 {
		t.Errorf("got %v, want %s after the nodes of no zone; %+v", got, want, v.BusiestZones[0])
	}
	cordon("n2", true)
	cordon("n1", true)
	if v := h.mustJudge(); v.BusiestZones[1].Out != 2 || !slices.Equal(v.BusiestZones[1].Nodes, []string{"n1", "n2"}) || v.BusiestZones[2].Out != 1 {
		t.Errorf("%+v", v.BusiestZones)
	}
}

func TestNodes(t *testing.T) {
	h := newHistory(t, unavailable(1))
	n := node("n1")
	step := func(change func(*corev1.Node)) {
		n = n.DeepCopy()
		change(n)
		h.add("nodes", watch.Modified, n)
	}
	setReady := func(s corev1.ConditionStatus) func(*corev1.Node) {
		return func(n *corev1.Node) { n.Status.Conditions[0].Status = s }
	}
	n2 := node("n2")
	n2.Spec.Unschedulable = true
	step(func(n *corev1.Node) { n.Spec.Unschedulable = true })
	h.add("nodes", watch.Modified, n2)
	step(setReady(corev1.ConditionFalse)) // pods a, b and c are still on it
	step(func(n *corev1.Node) { n.Status.NodeInfo.BootID = "boot-2"; setReady(corev1.ConditionTrue)(n) })
	step(func(n *corev1.Node) { n.Spec.Unschedulable = false })
	v := h.mustJudge()
	n1 := v.Nodes[0]
	if !n1.Maintained() || n1.Reboots != 1 || len(n1.CaughtPods) != 3 || v.Maintained() != 1 {
		t.Errorf("n1: %+v", n1)
	}
	var steps []string
	for _, s := range n1.Steps {
		steps = append(steps, s.What)
	}
	if got := strings.Join(steps, " "); got != "cordoned not-ready rebooted ready uncordoned" {
		t.Errorf("steps %s", got)
	}
	if v.Busiest.Out != 2 || !slices.Equal(v.Busiest.Nodes, []string{"n1", "n2"}) {
		t.Errorf("busiest %+v", v.Busiest)
	}
	faults := strings.Join(v.Faults(), "\n")
	if !strings.Contains(faults, "node n2 was left cordoned") || !strings.Contains(faults, "node n1 went down with pod shop/a on it") {
		t.Errorf("faults %s", faults)
	}
}
