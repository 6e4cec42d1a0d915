// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// prove looks at every node of an upgrade once more when all are finished: what it
// finds is what the run says of itself; the end of ctx ends nothing but its waits. wrong lists what is not as it is to be.
func (e *engine) prove(ctx context.Context) (proof string, wrong []string) {
	to := e.spec.Upgrade.To
	planes := e.spec.Upgrade.controlPlanes()
	at := 0
	for _, target := range e.spec.Nodes {
		name, uid, standing := target.Name, target.UID, e.status.Nodes[target.Name]
		if m := standing.Machine; m != nil && standing.Standing == Maintained {
			name, uid = m.Node, types.UID(m.UID) // that is in its place
		}
		var node *corev1.Node
		err := retry(context.WithoutCancel(ctx), e.clock, e.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
			node, err = e.cluster.Node(ctx, name)
			return err
		})
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("node %s could not be looked at: %v", name, err))
			continue
		case name != target.Name && (node == nil || node.UID != uid):
			wrong = append(wrong, fmt.Sprintf("node %s, in the place of %s, is gone", name, target.Name))
			continue
		case node == nil || node.UID != uid:
			continue // the journal tells
		}
		if why := e.unproven(node, to, slices.Contains(planes, name)); why != "" {
			wrong = append(wrong, "node "+name+": "+why)
			continue
		}
		at++
	}
	wrong = append(wrong, e.unprovenServer(ctx)...)
	addons, unseen := e.unprovenAddons(ctx)
	return fmt.Sprintf("%s looked at: all at %s and Ready%s%s%s", phrase.Count(at, "node"), to, unseen, e.outageText(), e.served), append(wrong, addons...)
}

// unproven says what a node lacks that was upgraded, or "".
func (e *engine) unproven(node *corev1.Node, to string, plane bool) string {
	if has := node.Status.NodeInfo.KubeletVersion; !e.spec.meets(to, has) {
		return "its kubelet is " + has
	}
	if !cluster.Ready(node) {
		return "it is not Ready"
	}
	around := e.cluster.Around(node.Name)
	if !plane || around == nil {
		return ""
	}
	for _, pod := range around.Pods {
		if has := componentVersion(pod.Pod); has != "" && has != to {
			return fmt.Sprintf("its %s is %s", pod.Labels["component"], has)
		}
	}
	return ""
}

// componentVersion returns the version of a static pod of the control plane by its
// image's tag; "" for every other pod.
func componentVersion(pod *corev1.Pod) string {
	if pod.Namespace != "kube-system" || pod.Labels["tier"] != "control-plane" || len(pod.Spec.Containers) == 0 ||
		!slices.Contains([]string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}, pod.Labels["component"]) {
		return ""
	}
	return tagOf(pod.Spec.Containers[0].Image)
}

// tagOf returns the tag of an image, "" if it has none.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[i+1:]
	}
	return ""
}

// outageText says for how long the API server was away in the turns of control planes, as
// far as this process has measured it.
func (e *engine) outageText() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.outages) == 0 {
		return ""
	}
	var sum, longest time.Duration
	for _, o := range e.outages {
		sum, longest = sum+o, max(longest, o)
	}
	return fmt.Sprintf("; the API server did not answer for %s (%s at once at most)",
		sum.Round(100*time.Millisecond), longest.Round(100*time.Millisecond))
}
