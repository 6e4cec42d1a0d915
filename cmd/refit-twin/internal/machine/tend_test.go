// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// run sets what the node's kubelet does.
func (w *world) run(kubelet string) {
	w.Helper()
	n := w.node()
	n.Labels["kubelet"] = kubelet
	if _, err := w.client.CoreV1().Nodes().Update(w.ctx, n, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

// TestTended: a node is handed over when its kubelet may write, and not before.
func TestTended(t *testing.T) {
	w := newWorld(t)
	refusals := 2
	w.kubelets.(*fake.Clientset).PrependReactor("patch", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patch := a.(clienttesting.PatchActionImpl)
		if patch.Subresource != "status" || len(patch.PatchOptions.DryRun) == 0 {
			t.Errorf("the kubelet writes %s %s, %v", patch.Subresource, patch.Patch, patch.PatchOptions)
		}
		if refusals--; refusals >= 0 {
			return true, nil, apierrors.NewForbidden(corev1.Resource("nodes"), "node-01", errors.New("the kubelet is not running"))
		}
		return true, &corev1.Node{}, nil
	})
	for range 2 {
		n, again := w.step()
		want(t, "when again", again, tendPoll)
		want(t, "tended", n.Labels["tended"], "")
	}
	n, again := w.step()
	want(t, "when again", again, 0)
	want(t, "tended", n.Labels["tended"], "true")

	w.run("stopped")
	n, _ = w.step()
	want(t, "tended when stopped", n.Labels["tended"], "")
	w.run("running")
	n, _ = w.step()
	want(t, "tended when started again", n.Labels["tended"], "true")

	w.annotate("reboot", "boot-2")
	n, _ = w.step()
	want(t, "tended in a reboot", n.Labels["tended"], "")
}
