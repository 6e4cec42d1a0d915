// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

// reasonDown is the reason of Ready=False while a machine is down.
const reasonDown = "KubeletNotReady"

// goDown ends the node's kubelet: kwok no longer manages the node, and the API server refuses what kwok had still
// planned for it. Ready=False follows when the change is seen.
func (m *controller) goDown(ctx context.Context, node *corev1.Node) error {
	slog.Info("machine goes down", "node", node.Name)
	labels := map[string]any{m.KubeletLabel: m.Rebooting}
	if m.TendedLabel != "" {
		labels[m.TendedLabel] = nil
	}
	return m.patch(ctx, node, map[string]any{"metadata": map[string]any{
		"labels":      labels,
		"annotations": map[string]any{m.DownSinceAnnotation: m.clock.Now().UTC().Format(time.RFC3339Nano)},
	}})
}

// postDown posts Ready=False once, as a kubelet does when its machine shuts down.
func (m *controller) postDown(ctx context.Context, node *corev1.Node) error {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionFalse {
			return nil
		}
	}
	return m.patch(ctx, node, map[string]any{"status": map[string]any{
		"conditions": []any{m.ready(corev1.ConditionFalse, reasonDown, "node is shutting down")},
	}}, "status")
}

// comeUp boots the machine: containers are to be started again, the node has
// its new boot ID and is Ready. The kubelet is started last: everything before
// is repeated if the supervisor dies in between.
func (m *controller) comeUp(ctx context.Context, node *corev1.Node, bootID string, downSince time.Time) error {
	if err := m.restartPods(ctx, node.Name, downSince); err != nil {
		return err
	}
	err := m.patch(ctx, node, map[string]any{"status": map[string]any{
		"nodeInfo":   map[string]any{"bootID": bootID},
		"conditions": []any{m.ready(corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status")},
	}}, "status")
	if err != nil {
		return err
	}
	slog.Info("machine is up", "node", node.Name, "bootID", bootID)
	return m.startKubelet(ctx, node)
}

// startKubelet lets the node's kubelet run again.
func (m *controller) startKubelet(ctx context.Context, node *corev1.Node) error {
	return m.patch(ctx, node, map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{m.KubeletLabel: m.Running},
		"annotations": map[string]any{m.DownSinceAnnotation: nil},
	}})
}

// restartPods starts the containers again that ran when the machine went down,
// as its kubelet does after the boot: each is counted as a restart and not
// ready yet. kwok makes the pods Ready when it is time.
func (m *controller) restartPods(ctx context.Context, node string, downSince time.Time) error {
	pods, err := m.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String(),
	})
	if err != nil {
		return fmt.Errorf("list the pods of the machine: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
			continue
		}
		statuses := restarted(pod.Status.ContainerStatuses, downSince, m.clock.Now())
		if len(statuses) == 0 {
			continue
		}
		now := metav1.NewTime(m.clock.Now())
		data, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": pod.UID}, // not a pod of the same name made since
			"status": map[string]any{
				"containerStatuses": statuses,
				"conditions": []corev1.PodCondition{
					{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", LastTransitionTime: now},
					{Type: corev1.ContainersReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", LastTransitionTime: now},
				},
			},
		})
		if err != nil {
			return err
		}
		_, err = m.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("restart pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	return nil
}

// restarted returns the statuses with those of containers that were running
// when the machine went down as they are after the boot; nil if there are none.
// (The API keeps times to the second, so a container may be counted twice if
// the supervisor dies within the second of a boot.)
func restarted(statuses []corev1.ContainerStatus, downSince, now time.Time) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	found := false
	for _, s := range statuses {
		run := s.State.Running
		if run == nil || run.StartedAt.After(downSince) {
			out = append(out, s)
			continue
		}
		found = true
		yes := true
		s.RestartCount++
		s.Ready, s.Started = false, &yes
		s.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 255, Reason: "Unknown", StartedAt: run.StartedAt, FinishedAt: metav1.NewTime(now),
		}}
		s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}}
		out = append(out, s)
	}
	if !found {
		return nil
	}
	return out
}

func (m *controller) ready(status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
	now := metav1.NewTime(m.clock.Now())
	return corev1.NodeCondition{
		Type: corev1.NodeReady, Status: status, Reason: reason, Message: message,
		LastHeartbeatTime: now, LastTransitionTime: now,
	}
}

// patch changes the node, unless it was replaced by another of its name.
func (m *controller) patch(ctx context.Context, node *corev1.Node, change map[string]any, subresource ...string) error {
	meta, _ := change["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		change["metadata"] = meta
	}
	meta["uid"] = node.UID
	data, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = m.client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}, subresource...)
	return err
}
