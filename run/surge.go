// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/placement"
)

// Surge is a rollout restart of a Deployment of one replica, so that the
// replacement of its pod is Ready before the pod leaves its node.
type Surge struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	// Pods are those of its pods that have to leave the node.
	Pods []types.UID `json:"pods"`
	// RestartedAt is the value that the restart writes into the pod template. It is
	// recorded before it is written, so that writing it again changes nothing.
	RestartedAt string `json:"restartedAt"`
}

// String names the Deployment.
func (s Surge) String() string { return "Deployment " + s.Namespace + "/" + s.Name }

// has tells whether pod is one of those that have to leave the node, and was not told to go.
func (s Surge) has(pod *cluster.Pod) bool {
	return slices.Contains(s.Pods, pod.UID) && pod.DeletionTimestamp == nil && !budget.Finished(pod.Pod)
}

// errLateSingleton says that a pod has come to the node that has to be surged.
var errLateSingleton = errors.New("a pod that can never be evicted came to the node during its drain")

// surge starts the replacements of pods that no budget will ever let go, and
// waits until those pods have been told to leave: the drain then finds them on
// their way. Deployments end pods without asking a budget, so the drain must not
// evict such pods itself: with the replacement Ready, a budget would let it take
// one of the two in the moment in which the Deployment ends the other.
func (w *worker) surge(ctx context.Context) error {
	if !w.spec.SurgeSingletons {
		return nil
	}
	if _, err := w.ownCordon(ctx); err != nil { // the replacement must not land here
		return err
	}
	surges, err := w.surges(ctx)
	if err != nil || len(surges) == 0 {
		return err
	}
	names := make([]string, len(surges))
	for i, s := range surges {
		names[i] = s.String()
	}
	intent := Record{Surges: surges, Reason: "the replacement comes first for " + few(names)}
	return w.step(ctx, StepSurge, intent, func() (Record, error) {
		for _, s := range surges {
			if err := w.restart(ctx, s); err != nil {
				return Record{}, err
			}
		}
		return Record{}, w.awaitReplacements(ctx, surges)
	})
}

// surges says which Deployments are to be restarted for this node. Those of an
// earlier attempt stay as they were recorded, as long as their pods are the same.
func (w *worker) surges(ctx context.Context) ([]Surge, error) {
	var leave []*corev1.Pod
	err := retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) error {
		selection, err := w.cluster.Leaving(ctx, w.target.Name) // now the watches have brought every pod that is bound to the node
		leave = selection.Leave
		return err
	})
	if err != nil {
		return nil, w.about(err)
	}
	w.looked = map[types.UID]bool{}
	singletons := map[types.UID]bool{}
	if node, err := w.around(); err == nil {
		for _, p := range node.Pods {
			w.looked[p.UID], singletons[p.UID] = true, singleton(p) != nil
		}
	}
	leave = slices.DeleteFunc(leave, func(p *corev1.Pod) bool { return !singletons[p.UID] })
	if len(leave) == 0 {
		return nil, nil
	}
	snapshot := w.cluster.Snapshot()
	found := map[types.UID]Surge{}
	if w.status.Steps[StepSurge] == Intent {
		for _, s := range w.status.Surges {
			found[s.UID] = s
		}
	}
	for _, p := range leave {
		pod := snapshot.PodByUID(p.UID)
		if pod == nil || budget.NeverOnceRunning(pod) == nil {
			continue
		}
		d := singleton(pod)
		if d == nil {
			continue
		}
		if why := whyNoSurge(d, pod); why != "" {
			return nil, cannotSurge(d.Namespace, d.Name, why)
		}
		s, known := found[d.UID]
		if known && slices.Contains(s.Pods, pod.UID) {
			continue
		}
		if !known || s.RestartedAt == d.Rollout.RestartedAt { // else the restart is not done yet, and goes for this pod as well
			s = Surge{Namespace: d.Namespace, Name: d.Name, UID: d.UID, RestartedAt: restartTime(w.clock.Now(), d.Rollout.RestartedAt)}
		}
		s.Pods = append(slices.Clone(s.Pods), pod.UID)
		found[d.UID] = s
	}
	list := make([]Surge, 0, len(found))
	for _, s := range found {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Surge) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

// restartTime is now as kubectl writes it, in whole seconds, or the next one
// that is not the value of the last restart: that would be none.
func restartTime(now time.Time, last string) string {
	for at := now.UTC(); ; at = at.Add(time.Second) {
		if text := at.Format(time.RFC3339); text != last {
			return text
		}
	}
}

func cannotSurge(namespace, name, why string) error {
	return &failure{
		reason: fmt.Sprintf("Deployment %s/%s cannot start the replacement of its pod first: %s", namespace, name, why),
		hint: fmt.Sprintf("change that (kubectl edit deployment -n %s %s: RollingUpdate, maxSurge 1, maxUnavailable 0, not paused), "+
			"or let its budget allow one, then resume the run", namespace, name),
	}
}

// restart restarts the Deployment, once there is room for the replacement.
func (w *worker) restart(ctx context.Context, s Surge) error {
	d := w.cluster.Workload(s.UID)
	if d == nil || d.Rollout == nil || d.Rollout.RestartedAt == s.RestartedAt || !slices.ContainsFunc(d.Pods, s.has) {
		return nil // it is no more, was restarted, or its pods are on their way
	}
	if err := w.awaitRoom(ctx, s); err != nil {
		return err
	}
	err := retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) error {
		if err := w.lock.check(ctx); err != nil {
			return err
		}
		return w.cluster.Restart(ctx, s)
	})
	return w.about(err)
}

// awaitRoom waits until the replacement of a pod would fit on another node.
func (w *worker) awaitRoom(ctx context.Context, s Surge) error {
	timer := w.clock.NewTimer(w.spec.Timeouts.Ready.Duration)
	defer timer.Stop()
	topics := []topic{anything()}
	bell := w.lookout.wait(topics)
	defer w.lookout.leave(topics, bell)
	for {
		begun := w.clock.Now()
		snapshot := w.cluster.Snapshot()
		room := placement.New(snapshot)
		var full []string
		for _, uid := range s.Pods {
			if pod := snapshot.PodByUID(uid); pod != nil {
				_, why := room.Anywhere(pod.Pod, []string{w.target.Name})
				full = append(full, why...)
			}
		}
		if len(full) == 0 {
			return nil
		}
		rest := w.clock.NewTimer(restAfter(w.clock.Since(begun)))
		var changed chan struct{}
		for again := false; !again; {
			select {
			case <-rest.C():
				changed = bell
			case <-changed:
				again = true
			case <-ctx.Done():
				rest.Stop()
				return context.Cause(ctx)
			case <-timer.C():
				rest.Stop()
				return w.timeout("the replacement of the pod of "+s.String()+" fits on no other node", few(full), w.spec.Timeouts.Ready.Duration,
					"nothing was restarted or evicted; make room, then resume the run")
			}
		}
	}
}

// awaitReplacements waits until each Deployment has a Ready pod on another node
// and has told those on this one to go.
func (w *worker) awaitReplacements(ctx context.Context, surges []Surge) error {
	topics := []topic{nodeTopic(w.target.Name)}
	for _, s := range surges {
		topics = append(topics, workloadTopic(s.UID))
	}
	var still []string
	err := w.lookout.await(ctx, w.spec.Timeouts.Ready.Duration, topics, func() (bool, error) {
		if _, err := w.seen(); err != nil {
			return false, err
		}
		still = nil
		for _, s := range surges {
			if why := notReplaced(w.cluster.Workload(s.UID), s, w.target.Name); why != "" {
				still = append(still, s.String()+": "+why)
			}
		}
		return len(still) == 0, nil
	})
	if errors.Is(err, errTimeout) {
		undo := fmt.Sprintf("kubectl rollout undo -n %s deployment/%s", surges[0].Namespace, surges[0].Name)
		err = w.timeout("a replacement is not Ready", few(still), w.spec.Timeouts.Ready.Duration,
			"the old pod still runs; see why the new one does not, then resume the run; or take the restart back: "+undo)
	}
	return err
}

// notReplaced says what is missing until the pods of a surge may be drained; ""
// if nothing is. A Deployment that is no singleton any more needs no surge.
func notReplaced(d *cluster.Workload, s Surge, node string) string {
	if d == nil || d.Rollout == nil || d.Desired != 1 {
		return ""
	}
	var old, replacement, starting []string
	for _, p := range d.Pods {
		switch {
		case p.DeletionTimestamp != nil || budget.Finished(p.Pod):
		case s.has(p):
			old = append(old, p.Name)
		case p.Spec.NodeName != "" && p.Spec.NodeName != node && budget.Healthy(p.Pod):
			replacement = append(replacement, p.Name)
		default:
			starting = append(starting, "pod "+p.Name+" "+whyNotReady(p.Pod))
		}
	}
	switch {
	case len(replacement) > 0 && len(old) == 0:
		return ""
	case len(replacement) > 0:
		return fmt.Sprintf("pod %s is Ready, and pod %s was not told to go", strings.Join(replacement, ", "), strings.Join(old, ", "))
	case len(starting) > 0:
		return strings.Join(starting, ", ")
	}
	return "no new pod was made"
}

// whyNotReady says what a pod lacks.
func whyNotReady(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "fits on no node: " + c.Message
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if s.State.Waiting != nil && s.State.Waiting.Reason != "" {
			return "is not Ready: " + s.State.Waiting.Reason
		}
	}
	return "is not Ready"
}

// watchForSingletons returns a ctx that ends with errLateSingleton when a pod that
// has to be surged runs on the node and was not there when that was last looked
// for. The scheduler may have bound one to it right
// before the cordon. One that is pending is not asked any budget for, and
// leaves in the drain.
func (w *worker) watchForSingletons(ctx context.Context) (context.Context, func()) {
	if !w.spec.SurgeSingletons {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	topics := []topic{podsTopic(w.target.Name)}
	bell := w.lookout.wait(topics)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer w.lookout.leave(topics, bell)
		for {
			if w.lateSingleton() {
				cancel(errLateSingleton)
				return
			}
			select {
			case <-bell:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}

// lateSingleton tells whether such a pod has come. Only if one may be it takes the
// time to look at all of the budget's pods.
func (w *worker) lateSingleton() bool {
	node, err := w.around()
	if err != nil || !slices.ContainsFunc(node.Pods, func(p *cluster.Pod) bool {
		return !w.looked[p.UID] && !budget.Ignored(p.Pod) && singleton(p) != nil
	}) {
		return false
	}
	node = w.cluster.Snapshot().Node(w.target.Name)
	return node != nil && slices.ContainsFunc(node.Pods, func(p *cluster.Pod) bool {
		return !w.looked[p.UID] && budget.Never(p) != nil && singleton(p) != nil
	})
}
