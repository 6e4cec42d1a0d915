// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second // a guard against hanging, no more

var (
	nodesResource       = corev1.SchemeGroupVersion.WithResource("nodes")
	podsResource        = corev1.SchemeGroupVersion.WithResource("pods")
	budgetsResource     = policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets")
	attachmentsResource = storagev1.SchemeGroupVersion.WithResource("volumeattachments")
	setsResource        = appsv1.SchemeGroupVersion.WithResource("statefulsets")
)

// world is an API server of the test's own: a fake clientset whose objects carry
// resource versions, evictions with the rules of the real ones, a disruption
// controller that looks when it is told to, and kubelets that do what the test says.
type world struct {
	t       *testing.T
	client  *fake.Clientset
	watcher *cluster.Watcher
	clock   *clocktesting.FakeClock

	mu       sync.Mutex
	changed  *sync.Cond // broadcast with every event and request
	version  int
	events   []event.Event
	asked    []string // pods, one entry for each eviction request
	refusals int      // evictions that a budget refused
	answers  map[string]func(n int) error
	watches  map[schema.GroupVersionResource]bool // that are open
	// terminate removes an evicted pod at once; without it the pod gets a
	// deletion timestamp and stays.
	terminate bool
	// observe makes the disruption controller look after every eviction.
	observe bool
	// replace makes a controller put a pod elsewhere for each that goes.
	replace bool
	// breaches are evictions that left more than one member of a StatefulSet away.
	breaches []string
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	x := &world{
		t: t, client: fake.NewClientset(), clock: clocktesting.NewFakeClock(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)),
		answers: map[string]func(int) error{}, watches: map[schema.GroupVersionResource]bool{}, terminate: true, observe: true,
	}
	x.client.PrependWatchReactor("*", x.openWatch)
	x.client.PrependReactor("patch", "nodes", x.patched)
	x.changed = sync.NewCond(&x.mu)
	for _, obj := range objects {
		x.create(obj)
	}
	x.look()
	return x
}

// watch starts the watcher; objects created before are there at once.
func (x *world) watch() *cluster.Watcher {
	x.t.Helper()
	if x.watcher == nil {
		w, err := cluster.Watch(x.t.Context(), x.client, cluster.WithClock(x.clock))
		if err != nil {
			x.t.Fatal(err)
		}
		x.t.Cleanup(w.Stop)
		x.watcher = w
		// The fake clientset forgets what happens between a list and its watch.
		x.until("the watches to be open", func() bool {
			for _, r := range []schema.GroupVersionResource{nodesResource, podsResource, budgetsResource, attachmentsResource, setsResource} {
				if !x.watches[r] {
					return false
				}
			}
			return true
		})
	}
	return x.watcher
}

// openWatch is the reactor that opens a watch and takes note of it.
func (x *world) openWatch(action clienttesting.Action) (bool, watch.Interface, error) {
	w, err := x.client.Tracker().Watch(action.GetResource(), action.GetNamespace())
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watches[action.GetResource()] = true
	x.changed.Broadcast()
	return true, w, err
}

// patched gives a node that was patched another version, as the API server does and the
// fake clientset does not: informers tell nobody of a change that leaves it as it was.
func (x *world) patched(action clienttesting.Action) (bool, runtime.Object, error) {
	handled, obj, err := clienttesting.ObjectReaction(x.client.Tracker())(action)
	if err != nil || !handled {
		return handled, obj, err
	}
	n := obj.DeepCopyObject()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.updateLocked(n)
	return true, n, nil
}

// drainer returns a Drainer in this world.
func (x *world) drainer(edit ...func(*Options)) *Drainer {
	x.t.Helper()
	options := DefaultOptions()
	options.Clock, options.Evictor = tickingClock{x.clock, x}, x
	for _, e := range edit {
		e(&options)
	}
	return New(x.client, x.watch(), options, x)
}

// outcome is what a Drain returned.
type outcome struct {
	Result
	err error
}

// drain runs Drain beside the test.
func (x *world) drain(ctx context.Context, d *Drainer, node string) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		r, err := d.Drain(ctx, node)
		done <- outcome{r, err}
	}()
	return done
}

func (x *world) wait(done <-chan outcome) outcome {
	x.t.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(patience):
		x.t.Fatalf("the drain does not end; events:\n%s", x.log())
		panic("unreachable")
	}
}

// Emit makes the world a Sink.
func (x *world) Emit(e event.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.events = append(x.events, e)
	x.changed.Broadcast()
}

// until waits for a condition on what was told and asked so far.
func (x *world) until(what string, is func() bool) {
	x.t.Helper()
	timeout := time.AfterFunc(patience, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.version = -1 << 40 // makes the wait below give up
		x.changed.Broadcast()
	})
	defer timeout.Stop()
	x.mu.Lock()
	for !is() && x.version >= 0 {
		x.changed.Wait()
	}
	hung := x.version < 0
	x.mu.Unlock()
	if hung {
		x.t.Fatalf("waiting in vain for %s; events:\n%s", what, x.log())
	}
}

// untilBlocked waits until a pod was said to be blocked for a cause, and returns the Blocker.
func (x *world) untilBlocked(pod string, cause event.Cause) event.Blocker {
	x.t.Helper()
	var found event.Blocker
	x.until(fmt.Sprintf("%s to be blocked by %s", pod, cause), func() bool {
		for _, e := range slices.Backward(x.events) {
			if e.Type == event.PodBlocked && e.Pod.String() == pod && e.Blocker.Cause == cause {
				found = *e.Blocker
				return true
			}
		}
		return false
	})
	return found
}

// untilAsked waits until a pod was asked for n times.
func (x *world) untilAsked(pod string, n int) {
	x.t.Helper()
	x.until(fmt.Sprintf("%s to be asked for %d times", pod, n), func() bool { return x.timesAsked(pod) >= n })
}

func (x *world) timesAsked(pod string) int {
	n := 0
	for _, p := range x.asked {
		if p == pod {
			n++
		}
	}
	return n
}

// step lets time pass once somebody waits for it.
func (x *world) step(d time.Duration) {
	x.t.Helper()
	x.until("somebody to wait for the clock", x.clock.HasWaiters)
	x.clock.Step(d)
}

// tickingClock tells the world when a timer is set.
type tickingClock struct {
	*clocktesting.FakeClock
	x *world
}

func (c tickingClock) NewTimer(d time.Duration) clock.Timer {
	timer := c.FakeClock.NewTimer(d)
	c.tell()
	return timer
}

func (c tickingClock) After(d time.Duration) <-chan time.Time {
	after := c.FakeClock.After(d)
	c.tell()
	return after
}

func (c tickingClock) tell() {
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	c.x.changed.Broadcast()
}

func (x *world) log() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	text := ""
	for _, e := range x.events {
		text += fmt.Sprintf("%s node=%s", e.Type, e.Node)
		if e.Pod != nil {
			text += " pod=" + e.Pod.String()
		}
		if e.Blocker != nil {
			text += fmt.Sprintf(" %s: %s", e.Blocker.Cause, e.Blocker.Message)
		}
		text += " " + e.Message + "\n"
	}
	return text + fmt.Sprint("asked: ", x.asked)
}

func (x *world) count(t event.Type) int {
	n := 0
	for _, e := range x.events {
		if e.Type == t {
			n++
		}
	}
	return n
}

// The API server.

func resourceOf(obj runtime.Object) schema.GroupVersionResource {
	switch obj.(type) {
	case *corev1.Node:
		return nodesResource
	case *corev1.Pod:
		return podsResource
	case *policyv1.PodDisruptionBudget:
		return budgetsResource
	case *storagev1.VolumeAttachment:
		return attachmentsResource
	case *appsv1.StatefulSet:
		return setsResource
	case *appsv1.DaemonSet:
		return appsv1.SchemeGroupVersion.WithResource("daemonsets")
	case *corev1.PersistentVolumeClaim:
		return corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	}
	panic(fmt.Sprintf("%T", obj))
}

func (x *world) stamp(obj runtime.Object) metav1.Object {
	m := obj.(metav1.Object)
	x.version++
	m.SetResourceVersion(strconv.Itoa(x.version))
	if m.GetUID() == "" {
		m.SetUID(types.UID(fmt.Sprintf("uid-%d", x.version)))
	}
	return m
}

func (x *world) create(obj runtime.Object) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.createLocked(obj)
}

func (x *world) createLocked(obj runtime.Object) {
	m := x.stamp(obj)
	if err := x.client.Tracker().Create(resourceOf(obj), obj, m.GetNamespace()); err != nil {
		x.t.Errorf("create %s: %v", m.GetName(), err)
	}
}

func (x *world) updateLocked(obj runtime.Object) {
	m := x.stamp(obj)
	if err := x.client.Tracker().Update(resourceOf(obj), obj, m.GetNamespace()); err != nil {
		x.t.Errorf("update %s: %v", m.GetName(), err)
	}
}

func (x *world) deleteLocked(r schema.GroupVersionResource, namespace, name string) {
	if err := x.client.Tracker().Delete(r, namespace, name); err != nil {
		x.t.Errorf("delete %s: %v", name, err)
	}
}

func (x *world) delete(r schema.GroupVersionResource, namespace, name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.deleteLocked(r, namespace, name)
}

// change edits an object.
func change[T runtime.Object](x *world, like T, namespace, name string, edit func(T)) {
	x.t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	obj, err := x.client.Tracker().Get(resourceOf(like), namespace, name)
	if err != nil {
		x.t.Fatalf("get %s: %v", name, err)
	}
	copied := obj.DeepCopyObject().(T)
	edit(copied)
	x.updateLocked(copied)
}

func (x *world) changePod(name string, edit func(*corev1.Pod)) {
	x.t.Helper()
	change(x, &corev1.Pod{}, "shop", name, edit)
}

func (x *world) budgetsLocked() []*policyv1.PodDisruptionBudget {
	obj, err := x.client.Tracker().List(budgetsResource, policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"), "")
	if err != nil {
		x.t.Errorf("list budgets: %v", err)
		return nil
	}
	var budgets []*policyv1.PodDisruptionBudget
	for i := range obj.(*policyv1.PodDisruptionBudgetList).Items {
		budgets = append(budgets, obj.(*policyv1.PodDisruptionBudgetList).Items[i].DeepCopy())
	}
	return budgets
}

func (x *world) podsLocked() []corev1.Pod {
	obj, err := x.client.Tracker().List(podsResource, corev1.SchemeGroupVersion.WithKind("Pod"), "")
	if err != nil {
		x.t.Errorf("list pods: %v", err)
		return nil
	}
	return obj.(*corev1.PodList).Items
}

func matches(b *policyv1.PodDisruptionBudget, pod *corev1.Pod) bool {
	s, _ := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	return b.Namespace == pod.Namespace && s.Matches(labels.Set(pod.Labels))
}

func ready(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && len(pod.Status.Conditions) > 0 && pod.Status.Conditions[0].Status == corev1.ConditionTrue
}

// look is the disruption controller's sync of every budget. The expected number
// of pods is taken from the annotation that pdb() sets.
func (x *world) look() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lookLocked()
}

func (x *world) lookLocked() {
	for _, b := range x.budgetsLocked() {
		expected, _ := strconv.Atoi(b.Annotations["expected"])
		s := policyv1.PodDisruptionBudgetStatus{
			ObservedGeneration: b.Generation, ExpectedPods: int32(expected),
			DesiredHealthy: int32(expected) - b.Spec.MaxUnavailable.IntVal, DisruptedPods: map[string]metav1.Time{},
		}
		for _, pod := range x.podsLocked() {
			if !matches(b, &pod) {
				continue
			}
			if at, listed := b.Status.DisruptedPods[pod.Name]; listed && pod.DeletionTimestamp == nil {
				s.DisruptedPods[pod.Name] = at
			} else if ready(&pod) {
				s.CurrentHealthy++
			}
		}
		s.DisruptionsAllowed = max(0, s.CurrentHealthy-s.DesiredHealthy)
		b.Status = s
		x.updateLocked(b)
	}
}

// answer makes the API server answer evictions of a pod by f, which is given the
// number of the request, from 1. nil lets the usual rules decide.
func (x *world) answer(pod string, f func(n int) error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answers[pod] = f
}

// Evict makes the world an Evictor with the rules of the Eviction API.
func (x *world) Evict(ctx context.Context, asked *corev1.Pod, options EvictOptions) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.changed.Broadcast()
	name := asked.Namespace + "/" + asked.Name
	x.asked = append(x.asked, name)
	if f := x.answers[name]; f != nil {
		if err := f(x.timesAsked(name)); err != nil {
			return err
		}
	}
	obj, err := x.client.Tracker().Get(podsResource, asked.Namespace, asked.Name)
	if err != nil {
		return apierrors.NewNotFound(corev1.Resource("pods"), asked.Name)
	}
	pod := obj.(*corev1.Pod).DeepCopy()
	if pod.UID != asked.UID {
		return replacedError()
	}
	if !budget.Ignored(pod) {
		if err := x.chargeLocked(pod, options.DryRun); err != nil {
			x.refusals++
			return err
		}
	}
	if options.DryRun {
		return nil
	}
	x.countLocked(pod)
	if pod.DeletionTimestamp == nil {
		pod.DeletionTimestamp = ptr.To(metav1.NewTime(x.clock.Now().Add(30 * time.Second)))
		pod.DeletionGracePeriodSeconds = ptr.To[int64](30)
		x.updateLocked(pod)
	}
	if x.terminate {
		x.deleteLocked(podsResource, pod.Namespace, pod.Name)
	}
	if x.replace && metav1.GetControllerOf(pod).Kind != "StatefulSet" {
		fresh := pod.DeepCopy()
		fresh.Name, fresh.UID, fresh.DeletionTimestamp, fresh.Spec.NodeName = pod.Name+"x", "", nil, "elsewhere"
		x.createLocked(fresh)
	}
	if x.observe {
		x.lookLocked()
	}
	return nil
}

func (x *world) chargeLocked(pod *corev1.Pod, dryRun bool) error {
	var own []*policyv1.PodDisruptionBudget
	for _, b := range x.budgetsLocked() {
		if matches(b, pod) {
			own = append(own, b)
		}
	}
	switch {
	case len(own) == 0:
		return nil
	case len(own) > 1:
		return twoBudgetsError()
	}
	b := own[0]
	if !ready(pod) {
		if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow ||
			b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0 {
			return nil
		}
	}
	switch {
	case b.Status.ObservedGeneration < b.Generation:
		return budgetError(10, "The disruption budget "+b.Name+" is still being processed by the server.")
	case b.Status.DisruptionsAllowed <= 0:
		return budgetError(0, fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy))
	case dryRun:
		return nil
	}
	b.Status.DisruptionsAllowed--
	if b.Status.DisruptedPods == nil {
		b.Status.DisruptedPods = map[string]metav1.Time{}
	}
	b.Status.DisruptedPods[pod.Name] = metav1.Now()
	x.updateLocked(b)
	return nil
}

// Objects.

func node(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
}

// pod is a running, ready pod of a ReplicaSet.
func pod(name, node string, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{"app": "web"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "rs", Controller: ptr.To(true)}},
		},
		Spec: corev1.PodSpec{NodeName: node},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	for _, e := range edit {
		e(p)
	}
	return p
}

func unready(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func bare(p *corev1.Pod)    { p.OwnerReferences = nil }
func priority(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Priority = &n }
}

func label(value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{"app": value} }
}

// pdb is a budget over the pods with the label app=NAME, which a controller
// wants expected of.
func pdb(name string, maxUnavailable int32, expected int, edit ...func(*policyv1.PodDisruptionBudget)) *policyv1.PodDisruptionBudget {
	b := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Generation: 1, Annotations: map[string]string{"expected": strconv.Itoa(expected)},
		},
		Spec: policyv1.PodDisruptionBudgetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, MaxUnavailable: intOrString(maxUnavailable),
		},
	}
	for _, e := range edit {
		e(b)
	}
	return b
}
