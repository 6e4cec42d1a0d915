// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
)

// TestAKeptWorldIsAsOneMadeAnew changes a random cluster in random ways, tells a
// Keeper what has changed, and compares its World, and what that decides, with one
// that is made of the same objects.
func TestAKeptWorldIsAsOneMadeAnew(t *testing.T) {
	for shard := range shards {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				l := newLively(t, shard)
				defer l.held.Stop()
				news := l.held.Subscribe()
				defer news.Close()
				keeper := plan.Keep(l.held, l.drain)
				for step := range 1 + l.IntN(12) {
					for range 1 + l.IntN(4) {
						l.change()
					}
					changes := news.Take()
					l.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
					keeper.Renew(changes)
					why := keeper.Outdated()
					if (why != "") != l.lasting {
						t.Fatalf("outdated %q after\n%s", why, strings.Join(l.done, "\n"))
					}
					if l.lasting = false; why != "" {
						keeper = plan.Keep(l.held, l.drain)
					}
					l.compare(t, keeper, fmt.Sprintf("step %d:\n%s", step, strings.Join(l.done, "\n")))
				}
			})
		})
	}
}

// lively is a cluster in which things happen.
type lively struct {
	*founder
	held  *cluster.Held
	objs  map[string]object
	drain plan.Drain
	count int
	done  []string
	// lasting: something has changed that a World takes for lasting.
	lasting bool
}

type object interface {
	runtime.Object
	metav1.Object
}

func newLively(t *rapid.T, shard int) *lively {
	x := randomTown(t, shard)
	g := rand.New(rand.NewPCG(drawSeed(t, "changes"), 1)) //nolint:gosec // the seed is rapid's
	l := &lively{founder: &founder{Rand: g, town: x}, objs: map[string]object{}, drain: drain()}
	if l.oneIn(2) {
		l.drain.Surges = func(p *cluster.Pod) bool {
			return len(p.Controllers) > 0 && p.Controllers[len(p.Controllers)-1].Desired == 1
		}
	}
	l.drain.Ungated = l.oneIn(10)
	if l.oneIn(4) {
		l.drain.Leaves = func(p *cluster.Pod) bool { return !p.DaemonSet() || !p.Controllers[0].Found }
	}
	held, err := cluster.Hold(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.held = held
	for _, o := range x.objects() {
		l.put(o.(object))
	}
	l.done = nil
	return l
}

func idOf(o object) string { return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName()) }

// put gives an object what the API server would give it.
func (l *lively) put(o object) {
	l.count++
	o = o.DeepCopyObject().(object)
	kind := strings.TrimPrefix(fmt.Sprintf("%T", o), "*v1.")
	if o.GetUID() == "" {
		o.SetUID(types.UID(kind + "/" + o.GetName()))
	}
	o.SetResourceVersion(strconv.Itoa(l.count))
	owners := o.GetOwnerReferences()
	for i := range owners {
		if owners[i].UID == "" {
			owners[i].UID = types.UID(owners[i].Kind + "/" + owners[i].Name)
		}
	}
	o.SetOwnerReferences(owners)
	if err := l.held.Put(o); err != nil {
		panic(err)
	}
	l.objs[idOf(o)] = o
	l.done = append(l.done, "put "+idOf(o)+" "+encode(o))
}

func (l *lively) remove(o object) {
	if err := l.held.Remove(o); err != nil {
		panic(err)
	}
	delete(l.objs, idOf(o))
	l.done = append(l.done, "remove "+idOf(o))
}

// anyOf picks one of the objects of a type; found is false if there is none.
func anyOf[T object](l *lively) (picked T, found bool) {
	var all []T
	for _, id := range slices.Sorted(maps.Keys(l.objs)) {
		if o, ok := l.objs[id].(T); ok {
			all = append(all, o)
		}
	}
	if len(all) == 0 {
		return picked, false
	}
	return all[l.IntN(len(all))].DeepCopyObject().(T), true
}

// alter changes one of the objects of a type.
func alter[T object](l *lively, how func(T)) {
	if o, found := anyOf[T](l); found {
		how(o)
		l.put(o)
	}
}

// change lets something happen.
func (l *lively) change() {
	switch n := l.IntN(40); {
	case n < 14:
		l.changePod()
	case n < 20:
		l.changeBudget()
	case n < 27:
		l.changeNode()
	case n < 34:
		l.changeWorkload()
	case n < 37:
		l.changeVolume()
	case n == 37:
		l.changeLasting()
	default:
		l.changePod()
	}
}

func (l *lively) anyNode() string {
	n, _ := anyOf[*corev1.Node](l)
	return n.Name
}

func (l *lively) changePod() {
	switch l.IntN(9) {
	case 0, 1:
		alter(l, func(p *corev1.Pod) {
			for i := range p.Status.Conditions {
				if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
					c.Status = pick(l.founder, corev1.ConditionTrue, corev1.ConditionFalse)
				}
			}
		})
	case 2:
		alter(l, func(p *corev1.Pod) {
			p.Status.Phase = pick(l.founder, corev1.PodRunning, corev1.PodPending, corev1.PodSucceeded, corev1.PodFailed)
		})
	case 3:
		alter(l, func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1990, 0)} })
	case 4, 5:
		if p, found := anyOf[*corev1.Pod](l); found {
			l.remove(p)
		}
	case 6: // another one of the same kind
		if p, found := anyOf[*corev1.Pod](l); found {
			l.count++
			p.Name, p.UID = fmt.Sprintf("%s-%d", p.Name[:min(len(p.Name), 12)], l.count), ""
			p.DeletionTimestamp, p.Status.Phase = nil, corev1.PodRunning
			p.Spec.NodeName = pick(l.founder, "", "nowhere", l.anyNode(), l.anyNode(), l.anyNode())
			l.put(p)
		}
	case 7: // bound, or made again under its name
		alter(l, func(p *corev1.Pod) {
			l.count++
			p.UID, p.Spec.NodeName, p.DeletionTimestamp = types.UID(fmt.Sprint(l.count)), l.anyNode(), nil
		})
	case 8:
		alter(l, func(p *corev1.Pod) {
			if l.oneIn(3) {
				p.OwnerReferences = nil
				return
			}
			p.Labels = map[string]string{"app": l.anyLabel()}
		})
	}
}

func (l *lively) anyLabel() string {
	if len(l.apps) == 0 {
		return "other"
	}
	return pick(l.founder, l.apps[l.IntN(len(l.apps))].name, "other")
}

func (l *lively) changeBudget() {
	switch l.IntN(7) {
	case 0, 1, 2:
		alter(l, func(b *policyv1.PodDisruptionBudget) {
			s := &b.Status
			s.DesiredHealthy, s.CurrentHealthy = l.Int32N(4), l.Int32N(5)
			s.DisruptionsAllowed = max(0, s.CurrentHealthy-s.DesiredHealthy)
			b.Generation, s.ObservedGeneration = 2, pick[int64](l.founder, 1, 2, 2, 2)
		})
	case 3:
		alter(l, func(b *policyv1.PodDisruptionBudget) {
			b.Spec.MaxUnavailable, b.Spec.MinAvailable = ptr.To(intstr.Parse(pick(l.founder, "0", "1", "2", "30%", "nonsense"))), nil
		})
	case 4:
		alter(l, func(b *policyv1.PodDisruptionBudget) {
			switch l.IntN(4) {
			case 0:
				b.Spec.Selector = nil
			case 1:
				b.Spec.Selector = &metav1.LabelSelector{}
			case 2:
				b.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "NotIn", Values: []string{l.anyLabel()}}}}
			default:
				b.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": l.anyLabel()}}
			}
		})
	case 5:
		if b, found := anyOf[*policyv1.PodDisruptionBudget](l); found {
			l.remove(b)
		}
	case 6:
		l.count++
		b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: townNamespace, Name: fmt.Sprintf("new-%d", l.count)}}
		b.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": l.anyLabel()}}
		b.Spec.MinAvailable = ptr.To(intstr.FromInt32(l.Int32N(3)))
		if l.oneIn(2) {
			b.Spec.UnhealthyPodEvictionPolicy = ptr.To(policyv1.AlwaysAllow)
		}
		l.put(b)
	}
}

func (l *lively) changeNode() {
	alter(l, func(n *corev1.Node) {
		comesAndGoes := func(t corev1.Taint) bool { return strings.HasPrefix(t.Key, "node.kubernetes.io/") }
		switch l.IntN(6) {
		case 0:
			n.Spec.Unschedulable = !n.Spec.Unschedulable
		case 1:
			n.Spec.Unschedulable = true
			n.Spec.Taints = append(slices.DeleteFunc(n.Spec.Taints, comesAndGoes), corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
		case 2:
			n.Status.Conditions[0].Status = pick(l.founder, corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown)
		case 3:
			n.Status.Conditions[0].Status = corev1.ConditionUnknown
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: pick(l.founder, corev1.TaintEffectNoExecute, corev1.TaintEffectNoSchedule), TimeAdded: &metav1.Time{Time: time.Unix(int64(l.count), 0)}})
		case 4:
			n.Spec.Unschedulable, n.Status.Conditions[0].Status = false, corev1.ConditionTrue
			n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, comesAndGoes)
		case 5:
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: cluster.TaintKey, Value: fmt.Sprint(l.count), Effect: corev1.TaintEffectPreferNoSchedule})
		}
	})
}

func (l *lively) changeWorkload() {
	replicas := ptr.To(l.Int32N(5))
	switch l.IntN(8) {
	case 0:
		alter(l, func(d *appsv1.Deployment) { d.Spec.Replicas = replicas })
	case 1:
		alter(l, func(d *appsv1.ReplicaSet) { d.Spec.Replicas = replicas })
	case 2, 3:
		alter(l, func(d *appsv1.StatefulSet) { d.Spec.Replicas = replicas })
	case 4:
		alter(l, func(d *appsv1.StatefulSet) { d.Status.ReadyReplicas = *replicas })
	case 5: // deleted
		switch l.IntN(4) {
		case 0:
			removeAny[*appsv1.Deployment](l)
		case 1:
			removeAny[*appsv1.ReplicaSet](l)
		case 2:
			removeAny[*appsv1.StatefulSet](l)
		case 3:
			removeAny[*appsv1.DaemonSet](l)
		}
	case 6: // back
		if len(l.apps) > 0 {
			for _, o := range l.apps[l.IntN(len(l.apps))].objects() {
				l.put(o.(object))
			}
		}
	case 7:
		alter(l, func(d *appsv1.ReplicaSet) { d.Spec.Template.Spec.NodeName = pick(l.founder, "", l.anyNode()) })
	}
}

func removeAny[T object](l *lively) {
	if o, found := anyOf[T](l); found {
		l.remove(o)
	}
}

func (l *lively) changeVolume() {
	switch l.IntN(4) {
	case 0:
		removeAny[*corev1.PersistentVolume](l)
	case 1:
		removeAny[*corev1.PersistentVolumeClaim](l)
	case 2:
		alter(l, func(c *corev1.PersistentVolumeClaim) {
			v, _ := anyOf[*corev1.PersistentVolume](l)
			if c.Spec.VolumeName = ""; v != nil {
				c.Spec.VolumeName = v.Name
			}
		})
	case 3:
		alter(l, func(v *corev1.PersistentVolume) {
			v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values = []string{fmt.Sprintf("zone-%d", l.IntN(3))}
		})
	}
}

// changeLasting changes what a World takes for lasting.
func (l *lively) changeLasting() {
	switch l.IntN(4) {
	case 0:
		l.count++
		n := (&townNode{name: fmt.Sprintf("extra-%d", l.count), zone: "zone-1", cpu: 4000, memory: 8192, pods: 12}).object()
		l.put(n)
	case 1:
		alter(l, func(n *corev1.Node) { n.Labels["disk"] = fmt.Sprint(l.count) })
	case 2:
		alter(l, func(n *corev1.Node) {
			l.count++
			n.Status.Allocatable[corev1.ResourceCPU] = *resource.NewMilliQuantity(4000+int64(l.count), resource.DecimalSI)
		})
	case 3:
		alter(l, func(n *corev1.Node) {
			l.count++
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: fmt.Sprintf("mine-%d", l.count), Effect: corev1.TaintEffectNoExecute})
		})
	}
	l.lasting = true
}

// compare compares the Keeper's World with one that is made anew.
func (l *lively) compare(t *rapid.T, k *plan.Keeper, after string) {
	s := l.held.Snapshot()
	kept, anew := k.World(), plan.NewWorld(s, l.drain)
	if got, want := kept.Draw(), anew.Draw(); got != want {
		t.Fatalf("kept:\n%s\nanew:\n%s\nafter %s", got, want, after)
	}
	for i, n := range k.Nodes() {
		if n != s.Nodes[i].Node {
			t.Fatalf("node %s is not the newest after %s", n.Name, after)
		}
	}
	in := l.intent
	in.Nodes = slices.DeleteFunc(slices.Clone(in.Nodes), func(name string) bool { _, known := anew.Node(name); return !known })
	state := anew.NewState(&in)
	for i := range state.Stage {
		if state.Stage[i] == plan.Waiting {
			state.Stage[i] = pick(l.founder, plan.Waiting, plan.Waiting, plan.Waiting, plan.Leaving, plan.Settling, plan.Done)
			state.Owned[i] = l.oneIn(8)
		}
		state.Out[i] = state.Out[i] != l.oneIn(8)
	}
	state.Stalled = l.oneIn(6)
	order := anew.ByName(&in)
	order.Eager = l.IntN(3)
	l.Shuffle(len(order.Nodes), func(i, j int) { order.Nodes[i], order.Nodes[j] = order.Nodes[j], order.Nodes[i] })
	if got, want := verdictOf(t, kept, &in, order, state), verdictOf(t, anew, &in, order, state); got != want {
		t.Fatalf("kept decides\n%s\nanew\n%s\nin\n%s\nafter %s", got, want, anew.Draw(), after)
	}
	if got, want := kept.Draw(), anew.Draw(); got != want {
		t.Fatalf("a decision has changed a World:\n%s\nanew:\n%s", got, want)
	}
}

func verdictOf(t *rapid.T, w *plan.World, in *plan.Intent, order *plan.Order, state *plan.State) string {
	t.Helper()
	v := w.Decide(in, order, state)
	if i := slices.IndexFunc(v.Waits, func(x plan.Wait) bool { return slices.Contains(v.Start, x.Node) }); i >= 0 {
		t.Fatalf("%s is started, and waits: %s", w.Name(v.Waits[i].Node), w.Reason(in, v.Waits[i]))
	}
	var b strings.Builder
	for _, n := range v.Start {
		b.WriteString("start " + w.Name(n) + "\n")
	}
	for _, x := range v.Waits {
		b.WriteString(w.Name(x.Node) + ": " + w.Reason(in, x) + "\n")
	}
	return b.String()
}
