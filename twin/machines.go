// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin/simulated"
)

// FailNode makes the machine of a node die without a word: its lease is not
// renewed, nothing happens to its pods. Kubernetes notices when the node
// monitor's grace period is over. A reboot that is under way does not end.
func (t *Twin) FailNode(ctx context.Context, name string) error {
	return t.patchNode(ctx, name, func(*corev1.Node) map[string]any {
		return map[string]any{
			"labels":      map[string]any{simulated.KubeletLabel: simulated.KubeletStopped, simulated.TendedLabel: nil},
			"annotations": map[string]any{simulated.RebootAnnotation: nil, simulated.DownSinceAnnotation: nil},
		}
	})
}

// RecoverNode makes the machine of a node work again: one that FailNode
// stopped carries on with its pods, one that does not come back from a reboot
// comes back. Nothing happens to a node that works.
func (t *Twin) RecoverNode(ctx context.Context, name string) error {
	return t.patchNode(ctx, name, func(node *corev1.Node) map[string]any {
		if node.Labels[simulated.KubeletLabel] == simulated.KubeletRebooting {
			return map[string]any{"annotations": map[string]any{simulated.RebootTimeAnnotation: nil}}
		}
		return map[string]any{"labels": map[string]any{simulated.KubeletLabel: simulated.KubeletRunning}}
	})
}

// RebootNode reboots the machine of a node and returns the boot ID that it
// will have; it does not wait. See simulated.RebootTimeAnnotation for the time it takes.
func (t *Twin) RebootNode(ctx context.Context, name string) (bootID string, err error) {
	bootID = string(uuid.NewUUID())
	return bootID, t.patchNode(ctx, name, func(*corev1.Node) map[string]any {
		return map[string]any{"annotations": map[string]any{simulated.RebootAnnotation: bootID}}
	})
}

// patchNode changes the labels and annotations of a node.
func (t *Twin) patchNode(ctx context.Context, name string, change func(*corev1.Node) map[string]any) error {
	cfg, err := t.RESTConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return hint.Wrap(fmt.Errorf("twin %s has no node %s", t.name, name), "its nodes are called %s and so on", NodeName(0, 1))
	}
	if err != nil {
		return fmt.Errorf("twin %s: get node %s: %w", t.name, name, err)
	}
	meta := change(node)
	meta["uid"] = node.UID
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("twin %s: change node %s: %w", t.name, name, err)
	}
	return nil
}
