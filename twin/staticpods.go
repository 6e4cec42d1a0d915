// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// showControlPlane makes the pods by which a cluster that kubeadm has made shows
// its control plane: mirror pods of the first node, with the command lines of the
// processes that really run.
func (t *Twin) showControlPlane(ctx context.Context, client kubernetes.Interface, o Options, p ports) error {
	node, err := client.CoreV1().Nodes().Get(ctx, NodeName(0, o.Nodes), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get the node of the control plane: %w", err)
	}
	for _, c := range t.supervisorConfig(o, p).Children {
		if c.ReadyURL == "" && c.Follows != "" {
			continue // the simulated kubelets are no part of it
		}
		pod := mirrorPod(c, o, node)
		_, err := client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("show %s as a pod: %w", c.Name, err)
		}
	}
	return nil
}

// mirrorPod is the pod that a kubelet would make for a static pod (pkg/kubelet/pod/mirror_client.go
// and pkg/kubelet/config/common.go of Kubernetes), from a manifest as kubeadm
// writes it (cmd/kubeadm/app/util/staticpod).
func mirrorPod(c childConfig, o Options, node *corev1.Node) *corev1.Pod {
	hash := c.Name // whatever differs between manifests
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: c.Name + "-" + node.Name, Namespace: metav1.NamespaceSystem,
			Labels: map[string]string{"component": c.Name, "tier": "control-plane"},
			Annotations: map[string]string{
				corev1.MirrorPodAnnotationKey: hash,
				"kubernetes.io/config.hash":   hash,
				"kubernetes.io/config.source": "file",
				"kubernetes.io/config.seen":   metav1.Now().UTC().Format("2006-01-02T15:04:05.000000000Z"),
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: ptr.To(true),
			}},
		},
		Spec: corev1.PodSpec{
			NodeName: node.Name, HostNetwork: true, PriorityClassName: "system-node-critical",
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}},
			Containers: []corev1.Container{{
				Name: c.Name, Image: "registry.k8s.io/" + c.Name + ":" + releaseOf(o.Kubernetes).Kubelet, Command: c.Args,
			}},
		},
	}
}
