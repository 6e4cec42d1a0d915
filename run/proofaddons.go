// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/upgrade"
)

// unprovenAddons looks at what kubeadm brings to a version for the cluster as a whole, at the
// end of its last turn: kube-proxy, and its own record. wrong lists what is not at the goal,
// unseen says in the words of a proof what could not be looked at.
func (e *engine) unprovenAddons(ctx context.Context) (wrong []string, unseen string) {
	if e.spec.Upgrade.KubeProxy {
		wrong = e.oldProxies(ctx)
	}
	u, ok := e.work.(upgrading)
	applied := slices.ContainsFunc(e.spec.Upgrade.Stages, func(s Stage) bool { return s.Role == FirstControlPlane })
	if !ok || u.recorded == nil || !applied {
		return wrong, ""
	}
	var version string
	err := retry(context.WithoutCancel(ctx), e.clock, e.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
		version, err = u.recorded(ctx)
		return err
	})
	switch {
	case err != nil:
		return wrong, fmt.Sprintf("; kubeadm's record of the cluster was not looked at: %v", err)
	case version != e.spec.Upgrade.To:
		wrong = append(wrong, fmt.Sprintf("ConfigMap kube-system/kubeadm-config says %q", version))
	}
	return wrong, ""
}

// oldProxies lists the nodes of the run whose kube-proxy is not at the goal. Their DaemonSet
// replaces them one after the other, so they have as long as a node has to be Ready, or until
// ctx ends.
func (e *engine) oldProxies(ctx context.Context) (old []string) {
	// What it says when the wait is over is as good as why it is over.
	_ = e.lookout.await(ctx, e.spec.Timeouts.Ready.Duration, []topic{anything()}, func() (bool, error) {
		old = nil
		for _, target := range e.spec.Nodes {
			node := e.cluster.Around(target.Name)
			if node == nil {
				continue
			}
			for _, pod := range node.Pods {
				if has := proxyVersion(pod.Pod); has != "" && has != e.spec.Upgrade.To {
					old = append(old, fmt.Sprintf("node %s: its kube-proxy is %s", target.Name, has))
				}
			}
		}
		return len(old) == 0, nil
	})
	return old
}

// proxyVersion returns the version of kubeadm's kube-proxy by its image's tag; "" for every
// other pod. The label is that of its DaemonSet
// (k8s.io/kubernetes/cmd/kubeadm/app/phases/addons/proxy/manifests.go).
func proxyVersion(pod *corev1.Pod) string {
	if pod.Namespace != "kube-system" || pod.Labels["k8s-app"] != "kube-proxy" || len(pod.Spec.Containers) == 0 {
		return ""
	}
	return tagOf(pod.Spec.Containers[0].Image)
}

// recordedVersion is the version that kubeadm has noted for the cluster.
func (o *Operator) recordedVersion(ctx context.Context) (string, error) {
	config, err := upgrade.ConfigOf(ctx, o.Client)
	if err != nil || config == nil {
		return "", err
	}
	return config.KubernetesVersion, nil
}
