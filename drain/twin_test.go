// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
	"refit.dev/refit/twin/twintest"
)

// ground is a real control plane. Its tests act with the rights of the twin's
// maintainer, which are those that refit's documentation asks for, and look at
// the outcome with the administrator's.
type ground struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of the test, with a deadline
	tw     *twin.Twin
	admin  kubernetes.Interface
	client kubernetes.Interface
	w      *cluster.Watcher

	mu     sync.Mutex
	events []event.Event
	heard  chan struct{}
}

func newGround(t *testing.T, options twin.Options) *ground {
	t.Helper()
	tw := twintest.Start(t, options)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	config, err := clientcmd.BuildConfigFromFlags("", tw.MaintainerKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w, err := cluster.Watch(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return &ground{t: t, ctx: ctx, tw: tw, admin: twintest.Client(t, tw), client: client, w: w, heard: make(chan struct{}, 1)}
}

// on is the same ground for a subtest.
func (g *ground) on(t *testing.T) *ground {
	return &ground{t: t, ctx: g.ctx, tw: g.tw, admin: g.admin, client: g.client, w: g.w, heard: make(chan struct{}, 1)}
}

// Emit makes the ground a Sink.
func (g *ground) Emit(e event.Event) {
	g.mu.Lock()
	g.events = append(g.events, e)
	g.mu.Unlock()
	select {
	case g.heard <- struct{}{}:
	default:
	}
}

// told waits until an event was emitted that is as wanted.
func (g *ground) told(what string, is func(event.Event) bool) event.Event {
	g.t.Helper()
	for {
		g.mu.Lock()
		i := slices.IndexFunc(g.events, is)
		var found event.Event
		if i >= 0 {
			found = g.events[i]
		}
		g.mu.Unlock()
		if i >= 0 {
			return found
		}
		select {
		case <-g.heard:
		case <-g.ctx.Done():
			for _, e := range g.events {
				line, _ := json.Marshal(e)
				g.t.Logf("%s", line)
			}
			g.t.Fatalf("waiting in vain for %s", what)
		}
	}
}

func (g *ground) blocked(cause event.Cause, prefix string) event.Blocker {
	g.t.Helper()
	e := g.told(fmt.Sprintf("%s to be blocked by %s", prefix, cause), func(e event.Event) bool {
		return e.Type == event.PodBlocked && e.Blocker.Cause == cause && strings.HasPrefix(e.Pod.Name, prefix)
	})
	return *e.Blocker
}

func (g *ground) drainer(edit ...func(*Options)) *Drainer {
	o := DefaultOptions()
	for _, e := range edit {
		e(&o)
	}
	return New(g.client, g.w, o, g)
}

// until waits for the cluster, as the watcher sees it, to be as wanted.
func (g *ground) until(what string, is func() bool) {
	g.t.Helper()
	news := g.w.Subscribe()
	defer news.Close()
	for !is() {
		select {
		case <-news.Ready():
			news.Take()
		case <-g.ctx.Done():
			g.t.Fatalf("waiting in vain for %s", what)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (g *ground) nodes(names ...string) []*corev1.Node {
	g.t.Helper()
	return must[[]*corev1.Node](g.t)(Resolve(g.ctx, g.client, names, nil))
}

// mark gives nodes to a subtest: its pods ask for the label.
func (g *ground) mark(group string, names ...string) {
	g.t.Helper()
	for _, name := range names {
		g.patchNode(name, map[string]any{"metadata": map[string]any{"labels": map[string]any{"group": group}}})
	}
}

func (g *ground) cordon(unschedulable bool, names ...string) {
	g.t.Helper()
	for _, name := range names {
		g.patchNode(name, map[string]any{"spec": map[string]any{"unschedulable": unschedulable}})
	}
}

func (g *ground) patchNode(name string, patch map[string]any, sub ...string) {
	g.t.Helper()
	data := must[[]byte](g.t)(json.Marshal(patch))
	must[*corev1.Node](g.t)(g.admin.CoreV1().Nodes().Patch(g.ctx, name, types.MergePatchType, data, metav1.PatchOptions{}, sub...))
}

// template is that of pods that only run in a group.
func template(group, app string, annotations map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}, Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"group": group},
			Containers:   []corev1.Container{{Name: "app", Image: "example.invalid/app"}},
		},
	}
}

// deploy makes a Deployment of the pods and waits until they are ready.
func (g *ground) deploy(group, app string, replicas int32, annotations map[string]string) {
	g.t.Helper()
	must[*appsv1.Deployment](g.t)(g.admin.AppsV1().Deployments("default").Create(g.ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			Template: template(group, app, annotations),
		},
	}, metav1.CreateOptions{}))
	g.untilReady(app, int(replicas))
}

func (g *ground) untilReady(app string, replicas int) {
	g.t.Helper()
	g.until(fmt.Sprintf("%d pods of %s to be ready", replicas, app), func() bool {
		n := 0
		for _, pod := range g.pods(app) {
			if isReady(pod) {
				n++
			}
		}
		return n == replicas
	})
}

func (g *ground) pods(app string) []*corev1.Pod {
	return g.w.PodsOf(&policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}},
	})
}

func isReady(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// remove takes a Deployment, its pods and its budget away.
func (g *ground) remove(app string) {
	g.t.Helper()
	err := errors.Join(
		g.admin.AppsV1().Deployments("default").Delete(g.ctx, app, metav1.DeleteOptions{}),
		g.admin.PolicyV1().PodDisruptionBudgets("default").Delete(g.ctx, app, metav1.DeleteOptions{}))
	if err != nil {
		g.t.Fatal(err)
	}
	g.until("the pods to be gone", func() bool { return len(g.pods(app)) == 0 })
}

// budget makes one and waits until it was looked at.
func (g *ground) budget(app string, maxUnavailable int32) {
	g.t.Helper()
	must[*policyv1.PodDisruptionBudget](g.t)(g.admin.PolicyV1().PodDisruptionBudgets("default").Create(g.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: policyv1.PodDisruptionBudgetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, MaxUnavailable: intOrString(maxUnavailable),
		},
	}, metav1.CreateOptions{}))
	g.until("the budget to be observed", func() bool {
		b := g.w.Budget("default", app)
		return b != nil && b.Status.ObservedGeneration == b.Generation && b.Status.ExpectedPods > 0 && b.Status.CurrentHealthy == b.Status.ExpectedPods
	})
}

// lowest watches the pods of an app by itself and returns, when asked, the least
// number of ready pods there ever was.
func (g *ground) lowest(app string) (stop func() int) {
	g.t.Helper()
	pods := g.admin.CoreV1().Pods("default")
	list := must[*corev1.PodList](g.t)(pods.List(g.ctx, metav1.ListOptions{LabelSelector: "app=" + app}))
	healthy := map[types.UID]bool{}
	for i := range list.Items {
		healthy[list.Items[i].UID] = isReady(&list.Items[i])
	}
	stream := must[watch.Interface](g.t)(pods.Watch(g.ctx, metav1.ListOptions{LabelSelector: "app=" + app, ResourceVersion: list.ResourceVersion}))
	count := func() (n int) {
		for _, h := range healthy {
			if h {
				n++
			}
		}
		return n
	}
	low := count()
	done := make(chan struct{})
	var stopped atomic.Bool
	go func() {
		defer close(done)
		for e := range stream.ResultChan() {
			pod, ok := e.Object.(*corev1.Pod)
			if !ok {
				if !stopped.Load() {
					g.t.Errorf("the watch of pods broke: %v", e.Object)
				}
				return
			}
			healthy[pod.UID] = e.Type != watch.Deleted && isReady(pod)
			low = min(low, count())
		}
	}()
	return func() int {
		stopped.Store(true)
		stream.Stop()
		<-done
		return low
	}
}

// standing are the pods on nodes now.
func (g *ground) standing(nodes ...string) map[string]bool {
	uids := map[string]bool{}
	for _, n := range nodes {
		for _, pod := range g.w.PodsOn(n) {
			uids[string(pod.UID)] = true
		}
	}
	return uids
}

// evictedPods are the pods that were evicted, by UID. None may have been twice.
func (g *ground) evictedPods() map[string]bool {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	uids := map[string]bool{}
	for _, e := range g.events {
		if e.Type != event.PodEvicted {
			continue
		}
		if uids[e.Pod.UID] {
			g.t.Errorf("pod %s, %s, was evicted twice", e.Pod, e.Pod.UID)
		}
		uids[e.Pod.UID] = true
	}
	return uids
}

// evictedOnce wants each of the pods that stood on the nodes to have been evicted
// once and to be gone, and the counts to say so. A replacement may have been, too:
// a scheduler that has not seen yet that a node is cordoned still puts pods on it.
func (g *ground) evictedOnce(counts *event.Counts, before map[string]bool) {
	g.t.Helper()
	evicted := g.evictedPods()
	for uid := range before {
		if !evicted[uid] {
			g.t.Errorf("pod %s was not evicted", uid)
		}
	}
	if len(before) == 0 || counts.Evicted != len(evicted) || counts.Gone != len(evicted) {
		g.t.Errorf("%d pods were on the nodes and %d were evicted: %+v", len(before), len(evicted), *counts)
	}
}

// statuses watches the status of a budget and returns, when asked, how often it
// showed fewer healthy pods than it needs.
func (g *ground) statuses(name string) (stop func() (seen, broken int)) {
	g.t.Helper()
	stream := must[watch.Interface](g.t)(g.admin.PolicyV1().PodDisruptionBudgets("default").Watch(g.ctx,
		metav1.ListOptions{FieldSelector: "metadata.name=" + name}))
	done := make(chan struct{})
	seen, broken := 0, 0
	go func() {
		defer close(done)
		for e := range stream.ResultChan() {
			if b, ok := e.Object.(*policyv1.PodDisruptionBudget); ok {
				seen++
				if b.Status.CurrentHealthy < b.Status.DesiredHealthy {
					broken++
				}
			}
		}
	}()
	return func() (int, int) {
		stream.Stop()
		<-done
		return seen, broken
	}
}

func TestOnTwin(t *testing.T) {
	g := newGround(t, twin.Options{Nodes: 10, Zones: 1, PodTermination: 200 * time.Millisecond, VolumeDetach: 500 * time.Millisecond})
	t.Run("budget over four nodes", func(t *testing.T) { fourNodes(g.on(t)) })
	t.Run("recreated pod", func(t *testing.T) { recreatedPod(g.on(t)) })
	t.Run("volumes", func(t *testing.T) { volumesDetach(g.on(t)) })
	t.Run("undo", func(t *testing.T) { undo(g.on(t)) })
	t.Run("server dry run", func(t *testing.T) { serverDryRun(g.on(t)) })
	t.Run("two budgets as the server says it", func(t *testing.T) { twoBudgetsAnswer(g.on(t)) })
	t.Run("late pod", func(t *testing.T) { latePod(g.on(t)) })
	t.Run("node deleted", func(t *testing.T) { nodeDeleted(g.on(t)) })
}

// Four nodes are drained at once, and their pods share a budget.
func fourNodes(g *ground) {
	full, spare := []string{"node-01", "node-02", "node-03", "node-04"}, []string{"node-05", "node-06"}
	g.mark("four", append(full, spare...)...)
	g.cordon(true, spare...)
	g.deploy("four", "web", 16, map[string]string{simulated.ReadyAfterAnnotation: "300ms"})
	g.budget("web", 2)
	g.cordon(false, spare...)

	before := g.standing(full...)
	lowest, statuses := g.lowest("web"), g.statuses("web")
	summary, err := g.drainer().Nodes(g.ctx, g.nodes(full...), "test", false)
	if err != nil || summary.Result != event.ResultDone {
		g.t.Errorf("%+v, %+v, %v", summary, summary.Counts, err)
	}
	g.evictedOnce(summary.Counts, before)
	for _, n := range full {
		for _, pod := range g.w.PodsOn(n) {
			g.t.Errorf("pod %s is still on %s", pod.Name, n)
		}
	}
	if low := lowest(); low < 14 {
		g.t.Errorf("%d of 16 pods were ready at one time, 14 must be", low)
	}
	if seen, broken := statuses(); broken > 0 || seen < 16 {
		g.t.Errorf("%d of %d statuses of the budget show it broken", broken, seen)
	}
	g.cordon(false, full...)
}

// A StatefulSet's pod comes back under its name, on another node, and stays there.
func recreatedPod(g *ground) {
	g.cordon(true, "node-08") // first: no scheduler sees it marked and free
	g.mark("set", "node-07", "node-08")
	must[*appsv1.StatefulSet](g.t)(g.admin.AppsV1().StatefulSets("default").Create(g.ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "set"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "set"}}, Template: template("set", "set", nil),
		},
	}, metav1.CreateOptions{}))
	g.untilReady("set", 1)
	before := g.w.Pod("default", "set-0")
	g.cordon(false, "node-08")

	if _, err := g.drainer().Nodes(g.ctx, g.nodes("node-07"), "test", false); err != nil {
		g.t.Error(err)
	}
	g.untilReady("set", 1)
	after := g.w.Pod("default", "set-0")
	if after.UID == before.UID || after.Spec.NodeName != "node-08" {
		g.t.Fatalf("set-0 is on %s", after.Spec.NodeName)
	}
	// An eviction of the old one, too late, does not touch the new one.
	if got := classify(NewEvictor(g.client).Evict(g.ctx, before, EvictOptions{})); got.verdict != replaced {
		g.t.Errorf("eviction of the old pod: %+v", got)
	}
	if got := classify(NewDeleter(g.admin).Evict(g.ctx, before, EvictOptions{})); got.verdict != replaced {
		g.t.Errorf("deletion of the old pod: %+v", got)
	}
	now := must[*corev1.Pod](g.t)(g.admin.CoreV1().Pods("default").Get(g.ctx, "set-0", metav1.GetOptions{}))
	if now.UID != after.UID || now.DeletionTimestamp != nil {
		g.t.Error("the new pod was touched")
	}
	g.cordon(false, "node-07")
}

// The drain ends only when the volumes of the evicted pods are detached.
func volumesDetach(g *ground) {
	g.mark("volumes", "node-09")
	must[*appsv1.StatefulSet](g.t)(g.admin.AppsV1().StatefulSets("default").Create(g.ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
			Template: func() corev1.PodTemplateSpec {
				p := template("volumes", "db", nil)
				p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
				return p
			}(),
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
				ObjectMeta: metav1.ObjectMeta{Name: "data"},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(simulated.Provisioner),
					Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
				},
			}},
		},
	}, metav1.CreateOptions{}))
	g.untilReady("db", 1)
	attached := func() bool {
		all := g.w.Attachments("node-09")
		return len(all) == 1 && all[0].Status.Attached
	}
	g.until("the volume to be attached", attached)
	// It stays attached until the drain was seen to wait for it.
	hold := func(patch types.PatchType, finalizers string) {
		name := g.w.Attachments("node-09")[0].Name
		must[*storagev1.VolumeAttachment](g.t)(g.admin.StorageV1().VolumeAttachments().Patch(g.ctx, name, patch, []byte(finalizers), metav1.PatchOptions{}))
	}
	hold(types.JSONPatchType, `[{"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/hold"}]`)
	done := make(chan error, 1)
	go func() {
		_, err := g.drainer().Nodes(g.ctx, g.nodes("node-09"), "test", false)
		done <- err
	}()
	g.blocked(event.CauseVolume, "db-0")
	hold(types.MergePatchType, `{"metadata": {"finalizers": null}}`)
	if err := <-done; err != nil {
		g.t.Error(err)
	}
	list := must[int](g.t)(func() (int, error) {
		l, err := g.admin.StorageV1().VolumeAttachments().List(g.ctx, metav1.ListOptions{})
		return len(l.Items), err
	}())
	if list != 0 {
		g.t.Errorf("%d volumes are attached after the drain", list)
	}
	// Its pod must not come back to a node that is another test's by then.
	if err := g.admin.AppsV1().StatefulSets("default").Delete(g.ctx, "db", metav1.DeleteOptions{}); err != nil {
		g.t.Fatal(err)
	}
	g.until("the pod to be gone", func() bool { return len(g.pods("db")) == 0 })
	g.cordon(false, "node-09")
}

// A timeout takes back refit's own cordon and no other.
func undo(g *ground) {
	g.mark("undo", "node-09")
	g.deploy("undo", "undo", 1, nil)
	g.budget("undo", 0)
	d := g.drainer(func(o *Options) { o.Timeout = time.Second })
	for _, foreign := range []bool{false, true} {
		g.cordon(foreign, "node-09")
		summary, err := d.Nodes(g.ctx, g.nodes("node-09"), "test", false)
		if !errors.Is(err, ErrTimeout) || summary.Result != event.ResultUnfinished || len(summary.Remaining) != 1 || summary.Remaining[0].Blocker.Cause != event.CauseBudget {
			g.t.Errorf("%+v, %+v, %v", summary, summary.Counts, err)
		}
		n := must[*corev1.Node](g.t)(g.admin.CoreV1().Nodes().Get(g.ctx, "node-09", metav1.GetOptions{}))
		if n.Spec.Unschedulable != foreign {
			g.t.Errorf("cordoned %v after the timeout, it was %v before", n.Spec.Unschedulable, foreign)
		}
	}
	events := must[*corev1.EventList](g.t)(g.admin.CoreV1().Events("default").List(g.ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=node-09"}))
	reasons := map[string]bool{}
	for _, e := range events.Items {
		reasons[e.Reason] = true
	}
	for _, want := range []string{NoteCordoned, NoteBlocked, NoteUncordoned} {
		if !reasons[want] {
			g.t.Errorf("no event %s on the node", want)
		}
	}
	g.cordon(false, "node-09")
	g.remove("undo")
}

func serverDryRun(g *ground) {
	g.mark("dry", "node-10")
	g.deploy("dry", "held", 1, nil)
	g.deploy("dry", "free", 2, nil)
	g.budget("held", 0)
	before := g.nodes("node-10")[0]
	summary, err := g.drainer(dryRun(DryRunServer)).Nodes(g.ctx, []*corev1.Node{before}, "test", false)
	if err != nil || summary.Result != event.ResultBlocked || summary.Evicted != 2 || summary.Blocked != 1 {
		g.t.Errorf("%+v, %+v, %v", summary, summary.Counts, err)
	}
	if n := g.nodes("node-10")[0]; n.Spec.Unschedulable || n.ResourceVersion != before.ResourceVersion && len(n.Annotations[cluster.CordonAnnotation]) > 0 {
		g.t.Error("the node was changed")
	}
	for _, app := range []string{"held", "free"} {
		for _, pod := range g.pods(app) {
			if pod.DeletionTimestamp != nil {
				g.t.Errorf("pod %s was deleted", pod.Name)
			}
		}
	}
}

func twoBudgetsAnswer(g *ground) {
	must[*policyv1.PodDisruptionBudget](g.t)(g.admin.PolicyV1().PodDisruptionBudgets("default").Create(g.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "second"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "held"}}, MaxUnavailable: intOrString(1),
		},
	}, metav1.CreateOptions{}))
	if got := classify(NewEvictor(g.client).Evict(g.ctx, g.pods("held")[0], EvictOptions{})); got.verdict != twoBudgets {
		g.t.Errorf("%+v", got)
	}
}

// A pod that is bound to a node by hand while it is being drained is evicted, too.
func latePod(g *ground) {
	bind := func(name string, annotations map[string]string) {
		p := template("late", name, annotations)
		p.Spec.NodeName = "node-09"
		must[*corev1.Pod](g.t)(g.admin.CoreV1().Pods("default").Create(g.ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: p.Labels, Annotations: p.Annotations}, Spec: p.Spec,
		}, metav1.CreateOptions{}))
	}
	g.mark("late", "node-09")
	bind("slow", map[string]string{simulated.TerminateAfterAnnotation: simulated.Never}) // the drain lasts until it is deleted
	g.untilReady("slow", 1)
	done := make(chan error, 1)
	go func() {
		_, err := g.drainer(func(o *Options) { o.Force = true }).Nodes(g.ctx, g.nodes("node-09"), "test", false)
		done <- err
	}()
	evicted := func(name string) {
		g.told(name+" to be evicted", func(e event.Event) bool { return e.Type == event.PodEvicted && e.Pod.Name == name })
	}
	evicted("slow")
	bind("late", nil)
	evicted("late")
	if err := g.admin.CoreV1().Pods("default").Delete(g.ctx, "slow", *metav1.NewDeleteOptions(0)); err != nil {
		g.t.Fatal(err)
	}
	if err := <-done; err != nil {
		g.t.Error(err)
	}
	g.cordon(false, "node-09")
}

func nodeDeleted(g *ground) {
	g.mark("deleted", "node-09")
	g.deploy("deleted", "doomed", 1, nil)
	g.budget("doomed", 0)
	done := make(chan error, 1)
	go func() {
		_, err := g.drainer().Nodes(g.ctx, g.nodes("node-09"), "test", false)
		done <- err
	}()
	g.blocked(event.CauseBudget, "doomed")
	if err := g.admin.CoreV1().Nodes().Delete(g.ctx, "node-09", metav1.DeleteOptions{}); err != nil {
		g.t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrNodeDeleted) {
		g.t.Errorf("%v", err)
	}
}

// Everything that keeps pods on their nodes for ever is told.
func TestStuckOnTwin(t *testing.T) {
	g := newGround(t, twin.Options{Scenario: "stuck"})
	g.untilStuckReady()

	nodes := g.nodes("node-01", "node-02", "node-03")
	refused, err := g.drainer().Nodes(g.ctx, nodes, "test", false)
	if err == nil || refused.Result != event.ResultBlocked || !strings.Contains(refused.Message, "stuck/bare") {
		t.Errorf("%+v, %v", refused, err)
	}

	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	type end struct {
		summary event.Event
		err     error
	}
	done := make(chan end, 1)
	go func() {
		summary, err := g.drainer(func(o *Options) {
			o.Force, o.DeleteEmptyDirData, o.GracePeriod = true, true, ptr.To[int64](1)
		}).Nodes(ctx, nodes, "test", false)
		done <- end{summary, err}
	}()

	if b := g.blocked(event.CauseBudget, "never-lets-go"); !strings.Contains(b.Hint, "never") || len(b.Budgets) != 1 || b.Budgets[0].DesiredHealthy != 3 {
		t.Errorf("%+v", b)
	}
	if b := g.blocked(event.CauseBudget, "singleton"); !strings.Contains(b.Hint, "never") {
		t.Errorf("%+v", b)
	}
	if b := g.blocked(event.CauseTwoBudgets, "two-budgets"); len(b.Budgets) != 2 {
		t.Errorf("%+v", b)
	}
	if b := g.blocked(event.CauseBudget, "eaten"); len(b.Budgets) != 1 || len(b.Budgets[0].Unready) != 2 || !strings.Contains(b.Budgets[0].Unready[0], "eaten-broken") {
		t.Errorf("%+v", b)
	}
	if b := g.blocked(event.CauseFinalizer, "finalizer"); !strings.Contains(b.Message, "twin.refit.dev/stuck") {
		t.Errorf("%+v", b)
	}
	g.blocked(event.CauseTerminating, "endless")
	// Now its machine dies, and the node controller finds out.
	endless := g.w.Pod("stuck", g.told("", func(e event.Event) bool { return e.Pod != nil && strings.HasPrefix(e.Pod.Name, "endless") }).Pod.Name)
	g.killKubelet(endless.Spec.NodeName)
	g.blocked(event.CauseKubelet, "endless")

	cancel()
	got := <-done
	if !errors.Is(got.err, context.Canceled) || got.summary.Result != event.ResultUnfinished {
		t.Errorf("%v", got.err)
	}
	causes := map[string]event.Cause{
		"never-lets-go": event.CauseBudget, "singleton": event.CauseBudget, "two-budgets": event.CauseTwoBudgets,
		"eaten": event.CauseBudget, "finalizer": event.CauseFinalizer, "endless": event.CauseKubelet,
	}
	for _, r := range got.summary.Remaining {
		known := false
		for prefix, cause := range causes {
			known = known || strings.HasPrefix(r.Pod.Name, prefix) && r.Blocker.Cause == cause
		}
		if !known {
			t.Errorf("remains: %s %+v", r.Pod, r.Blocker)
		}
	}
	for _, n := range g.nodes("node-01", "node-02", "node-03") {
		if n.Spec.Unschedulable {
			t.Errorf("%s stays cordoned", n.Name)
		}
	}
}

// untilStuckReady waits until every pod of the scenario runs and its budgets know
// it, but for those that share their pods: of these the disruption controller counts
// for one at a time, whichever it comes upon first.
func (g *ground) untilStuckReady() {
	g.t.Helper()
	const pods = 18
	g.until("the scenario to be there", func() bool {
		running := 0
		for _, n := range []string{"node-01", "node-02", "node-03"} {
			for _, pod := range g.w.PodsOn(n) {
				if pod.Status.Phase == corev1.PodRunning {
					running++
				}
			}
		}
		for name, healthy := range map[string]int32{"never-lets-go": 3, "singleton": 1, "eaten": 3} {
			b := g.w.Budget("stuck", name)
			if b == nil || b.Status.CurrentHealthy != healthy || b.Status.ObservedGeneration != b.Generation {
				return false
			}
			for _, pod := range g.w.PodsOf(b) { // which come by another watch than the budget
				if isReady(pod) {
					healthy--
				}
			}
			if healthy != 0 {
				return false
			}
		}
		return running == pods
	})
}

// killKubelet stops a kubelet and makes the node controller's finding known at once.
func (g *ground) killKubelet(node string) {
	g.t.Helper()
	g.patchNode(node, map[string]any{"metadata": map[string]any{"labels": map[string]any{simulated.KubeletLabel: simulated.KubeletStopped}}})
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error { // the node's controllers write to it, too
		n := must[*corev1.Node](g.t)(g.admin.CoreV1().Nodes().Get(g.ctx, node, metav1.GetOptions{}))
		for i := range n.Status.Conditions {
			if n.Status.Conditions[i].Type == corev1.NodeReady {
				n.Status.Conditions[i].Status = corev1.ConditionUnknown
			}
		}
		_, err := g.admin.CoreV1().Nodes().UpdateStatus(g.ctx, n, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
}
