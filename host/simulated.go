// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/twin/simulated"
)

// Simulated is a machine of the embedded cluster. There is nothing on the other
// end to log in to: commands run in this machine's shell, as with Local, and a
// reboot is asked for by an annotation on the Node, which the twin obeys.
type Simulated struct {
	*Local
	client kubernetes.Interface
	name   string
	uid    types.UID
}

// NewSimulated returns the Host of node, which must be one of a twin.
func NewSimulated(client kubernetes.Interface, node *corev1.Node, run string) *Simulated {
	return &Simulated{Local: NewLocal(node, run), client: client, name: node.Name, uid: node.UID}
}

// Reboot asks for a reboot whose boot ID will be id. The twin compares id with
// the boot ID that the node has: asking again is harmless. A node that was
// replaced by another of its name is not touched.
func (s *Simulated) Reboot(ctx context.Context, id string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         s.uid, // the API server answers 409 if the object of that name has another one
		"annotations": map[string]string{simulated.RebootAnnotation: id},
	}})
	if err != nil {
		return fmt.Errorf("reboot node %s: %w", s.name, err)
	}
	_, err = s.client.CoreV1().Nodes().Patch(ctx, s.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsConflict(err) {
		return fmt.Errorf("reboot node %s: it was replaced by another node of that name: %w", s.name, err)
	}
	if err != nil {
		return fmt.Errorf("reboot node %s: %w", s.name, err)
	}
	return nil
}
