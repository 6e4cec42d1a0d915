// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
)

// ErrAnswers says that the kubelet of a node answers, so that the machine is not off.
var ErrAnswers = errors.New("its kubelet answers, so the machine is not off")

// SetOutOfService taints a lost node as out of service, and records mark on it.
// Whoever calls it has to know that the machine is off: if it is not, two pods may
// write to one volume. It is never done to a node that is not lost, also not to one
// that comes back in between: that is ErrAnswers. A node that has the taint already is
// left as it is, and stays with whoever set it. changed tells whether it was set.
func SetOutOfService(ctx context.Context, client kubernetes.Interface, node *corev1.Node, mark cluster.OutOfServiceMark, dryRun bool) (changed bool, err error) {
	var options []string
	if dryRun {
		options = []string{metav1.DryRunAll}
	}
	answers := false
	edit := func(n *corev1.Node) *nodePatch {
		answers, changed = !cluster.Lost(n), false
		if answers || cluster.OutOfService(n) {
			return nil
		}
		changed = true
		p := newNodePatch(n)
		text := mark.Annotation()
		p.annotate(cluster.OutOfServiceAnnotation, &text)
		p.setTaints(append(slices.Clone(n.Spec.Taints), mark.Taint()))
		return p
	}
	_, err = patchNode(ctx, client, node, edit, options)
	if err == nil && answers {
		err = ErrAnswers
	}
	if err != nil {
		return false, fmt.Errorf("taint node %s as out of service: %w", node.Name, err)
	}
	return changed, nil
}

// BackInService takes refit's own out-of-service taint off a node that is Ready
// again. changed tells whether it did.
func BackInService(ctx context.Context, client kubernetes.Interface, node *corev1.Node) (changed bool, err error) {
	edit := func(n *corev1.Node) *nodePatch {
		p := newNodePatch(n)
		if changed = p.backInService(n); !changed {
			return nil
		}
		return p
	}
	if _, err := patchNode(ctx, client, node, edit, nil); err != nil {
		return false, fmt.Errorf("take node %s back into service: %w", node.Name, err)
	}
	return changed, nil
}

// backInService leaves out the taint that refit has set, and its mark, if the node is
// Ready. It tells whether there was such a taint. A mark without its taint goes as well.
func (p *nodePatch) backInService(n *corev1.Node) bool {
	mark, marked := cluster.OutOfServiceMarkOf(n)
	if _, orphan := n.Annotations[cluster.OutOfServiceAnnotation]; orphan && !marked || StaleOutOfService(n) {
		p.annotate(cluster.OutOfServiceAnnotation, nil)
	}
	if !StaleOutOfService(n) {
		return false
	}
	p.dropTaints(n, mark.Set)
	return true
}

// StaleOutOfService tells whether the node is Ready and still marked by refit as out of
// service: whatever is started there is deleted.
func StaleOutOfService(n *corev1.Node) bool {
	_, marked := cluster.OutOfServiceMarkOf(n)
	return marked && cluster.Ready(n)
}

// expels tells whether the node's out-of-service taint has the pod deleted, with
// nobody asking for it.
func expels(n *corev1.Node, pod *corev1.Pod) bool {
	if cluster.Ready(n) {
		return false
	}
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key == corev1.TaintNodeOutOfService && t.Effect == corev1.TaintEffectNoExecute && !tolerates(pod, &t)
	})
}

func tolerates(pod *corev1.Pod, taint *corev1.Taint) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool { return t.ToleratesTaint(klog.Logger{}, taint, true) })
}

// removes tells whether the pod is deleted because its node is out of service, or will be
// once the drain has declared it so, which it does not need to if it is. That is true of
// pods of DaemonSets as well, unless they tolerate every taint: their controller adds no
// toleration of this one (AddOrUpdateDaemonPodTolerations in
// pkg/controller/daemon/util/daemonset_util.go).
func (o Options) removes(n *corev1.Node, pod *corev1.Pod) (removed, byDrain bool) {
	if cluster.OutOfService(n) {
		return expels(n, pod), false
	}
	byDrain = o.ConfirmNodeIsOff && cluster.Lost(n) && !tolerates(pod, ptr.To(cluster.OutOfServiceMark{}.Taint()))
	return byDrain, byDrain
}

// LostError says that a node is not drained because its kubelet does not answer, or
// because it does although somebody said that the machine is off. Nothing was changed.
type LostError struct {
	Node   string
	Reason string
}

func (e *LostError) Error() string { return "node " + e.Node + " " + e.Reason }

// Impasse is the reason not to begin with a node, of which leave pods have to go: a
// drain of it would not end, or what the operator says of it is not so. It is a
// *LostError with a hint for who drains; nil if there is no reason.
func (o Options) Impasse(n *corev1.Node, leave int) error {
	lost := cluster.Lost(n)
	switch {
	case o.ConfirmNodeIsOff && o.PodSelector != nil:
		return hint.Wrap(&LostError{n.Name, "cannot be declared out of service for some of its pods: the taint takes all of them away"},
			"leave out --pod-selector, or --confirm-node-is-off")
	case o.ConfirmNodeIsOff && !lost:
		reason := "is Ready: its kubelet answers, so the machine is not off"
		if !cluster.Ready(n) {
			reason = "is not Ready, but its kubelet answers, so the machine is not off"
		}
		return hint.Wrap(&LostError{n.Name, reason},
			"leave out --confirm-node-is-off for it; if it was switched off just now, wait until kubectl get nodes says NotReady, which takes about a minute")
	case !lost, leave == 0, cluster.OutOfService(n), o.ConfirmNodeIsOff:
		return nil
	case o.SkipWaitForDelete > 0, o.GracePeriod != nil && *o.GracePeriod == 0:
		return nil // kubectl's ways not to wait for a kubelet
	}
	return hint.Wrap(&LostError{n.Name, fmt.Sprintf("is lost: its kubelet does not answer%s. Evictions would be accepted, but the drain would not end: "+
		"%s would stay Terminating, because nobody is there to end %s", silentSince(n), phrase.Count(leave, "pod"), phrase.Plural(leave, "it", "them"))},
		"if the machine is off for certain - not just cut off from the network - say --confirm-node-is-off: refit then sets the taint "+
			"node.kubernetes.io/out-of-service, with which the pods are removed, past their budgets, and the volumes detached. "+
			"If the machine still ran, two pods could write to one volume. Otherwise bring it back; refit outage %s tells what happens meanwhile", n.Name)
}

func silentSince(n *corev1.Node) string {
	if since := givenUp(n); !since.IsZero() {
		return " (Ready is Unknown since " + since.UTC().Format(time.RFC3339) + ")"
	}
	return ""
}

// giveUp taints a lost node as out of service, if somebody has said that its machine
// is off, and waits until the watch knows. doomed are the pods that had to leave
// right before that, and were not terminating.
func (o *operation) giveUp(i int) (doomed []*corev1.Pod, err error) {
	node := o.nodes[i]
	if !o.options.ConfirmNodeIsOff || o.options.DryRun == DryRunClient {
		return nil, nil
	}
	if err := o.beats(i); err != nil {
		return nil, err
	}
	doomed = slices.DeleteFunc(o.Select(node.Name).Leave, func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	mark := cluster.OutOfServiceMark{Run: o.mark.Run, Since: o.mark.Since}
	changed, err := SetOutOfService(o.ctx, o.client, node, mark, o.options.DryRun == DryRunServer)
	switch {
	case errors.Is(err, ErrAnswers):
		o.tell(event.Event{Type: event.Warning, Node: node.Name, Message: "its kubelet answers again: it is drained without being tainted as out of service"})
		return nil, nil
	case context.Cause(o.ctx) != nil:
		return nil, &UnfinishedError{Node: node.Name, Cause: context.Cause(o.ctx)}
	case err != nil:
		return nil, hint.Wrap(err, "refit needs to get and patch nodes")
	}
	if changed {
		o.tell(event.Event{Type: event.NodeOutOfService, Node: node.Name, Message: "is lost and confirmed to be off: tainted " +
			corev1.TaintNodeOutOfService + ", so that its pods are removed and its volumes detached"})
		o.note(i, NoteOutOfService, "tainted as out of service: lost, and confirmed to be off")
	}
	if o.options.DryRun != DryRunNone {
		return nil, nil
	}
	return doomed, o.untilSeen(node.Name)
}

// untilSeen waits until the watch knows that a node is out of service, or otherwise
// than it was: the drain then leaves its pods to the taint.
func (o *operation) untilSeen(name string) error {
	news := o.watcher.Subscribe()
	defer news.Close()
	for {
		if n := o.watcher.Node(name); n == nil || cluster.OutOfService(n) || cluster.Ready(n) {
			return nil
		}
		select {
		case <-news.Ready():
			news.Take()
		case <-o.watcher.Done():
			return nil // the drain will say why
		case <-o.ctx.Done():
			return &UnfinishedError{Node: name, Cause: context.Cause(o.ctx)}
		}
	}
}
