// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

// Where kubeadm keeps what is common to the cluster
// (https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/).
const (
	configMap  = "kubeadm-config"
	kubeletMap = "kubelet-config"
)

// readConfig reads what kubeadm keeps in the cluster.
func (o *Observer) readConfig(ctx context.Context, s *State) error {
	config, err := ConfigOf(ctx, o.Client)
	switch {
	case errors.Is(err, errDamaged):
		return err
	case err != nil:
		return s.unseen(err, "configmaps kube-system/"+configMap, "what kubeadm has brought the cluster to")
	case config == nil:
		return nil // not kubeadm's cluster
	}
	s.Config = config
	kubelets, err := o.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, kubeletMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return s.unseen(err, "configmaps kube-system/"+kubeletMap, "which feature gates kubelets have")
	}
	var kubelet struct {
		FeatureGates map[string]bool `json:"featureGates"`
	}
	if err := yaml.Unmarshal([]byte(kubelets.Data["kubelet"]), &kubelet); err != nil {
		return fmt.Errorf("read ConfigMap kube-system/%s: %w", kubeletMap, err)
	}
	config.KubeletGates = kubelet.FeatureGates
	return nil
}

// errDamaged says that what kubeadm keeps cannot be read as what it is.
var errDamaged = errors.New("its ClusterConfiguration is damaged")

// ConfigOf reads kubeadm's ClusterConfiguration; nil if it keeps none. Errors of the API
// server are as it gave them.
func ConfigOf(ctx context.Context, client kubernetes.Interface) (*Config, error) {
	found, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, configMap, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	config, err := parseConfig(found.Data["ClusterConfiguration"])
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap kube-system/%s: %w", configMap, err)
	}
	return config, nil
}

// parseConfig reads a ClusterConfiguration of any version of kubeadm's API.
func parseConfig(text string) (*Config, error) {
	var c struct {
		KubernetesVersion    string `json:"kubernetesVersion"`
		ImageRepository      string `json:"imageRepository"`
		ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
		Etcd                 struct {
			External *struct{} `json:"external"`
		} `json:"etcd"`
	}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return &Config{KubernetesVersion: c.KubernetesVersion, ImageRepository: c.ImageRepository, Endpoint: c.ControlPlaneEndpoint, ExternalEtcd: c.Etcd.External != nil}, nil
}
