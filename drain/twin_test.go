// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
)

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
	g.database("volumes", "db")
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

// database makes a StatefulSet of one pod with a volume and waits until it is ready.
func (g *ground) database(group, app string) {
	g.t.Helper()
	pods := template(group, app, nil)
	pods.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	must[*appsv1.StatefulSet](g.t)(g.admin.AppsV1().StatefulSets("default").Create(g.ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, Template: pods,
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
				ObjectMeta: metav1.ObjectMeta{Name: "data"},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(simulated.Provisioner),
					Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
				},
			}},
		},
	}, metav1.CreateOptions{}))
	g.untilReady(app, 1)
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
