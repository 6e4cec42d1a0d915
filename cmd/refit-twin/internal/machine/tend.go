// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// tendPoll is how often it is tried whether a kubelet that was started may write.
	tendPoll = 20 * time.Millisecond
	// tendProbe is the annotation that a kubelet tries to write. It is never stored.
	tendProbe = "probe"
)

// tend hands a node whose kubelet runs to kwok, and takes one away whose kubelet does not.
//
// The API server refuses what the kubelet of a dead machine writes. It learns from
// a watch of its own which machines are dead, and may still refuse for a moment
// what a kubelet writes that was just started. kwok gives up what was refused,
// where a kubelet would try again. So it gets the node when a trial succeeds.
// The duration is when to try again.
func (m *controller) tend(ctx context.Context, node *corev1.Node) (time.Duration, error) {
	runs, tended := node.Labels[m.KubeletLabel] == m.Running, node.Labels[m.TendedLabel] != ""
	switch {
	case m.TendedLabel == "" || runs == tended:
		return 0, nil
	case !runs:
		return 0, m.patch(ctx, node, map[string]any{"metadata": map[string]any{"labels": map[string]any{m.TendedLabel: nil}}})
	}
	probe, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": node.UID, "annotations": map[string]any{m.TendedLabel + "-" + tendProbe: m.clock.Now().String()},
	}})
	if err != nil {
		return 0, err
	}
	_, err = m.kubelets.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, probe, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, "status")
	if apierrors.IsForbidden(err) {
		return tendPoll, nil
	}
	if err != nil {
		return 0, fmt.Errorf("try whether the kubelet of %s may write: %w", node.Name, err)
	}
	return 0, m.patch(ctx, node, map[string]any{"metadata": map[string]any{"labels": map[string]any{m.TendedLabel: "true"}}})
}
