// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
	testingclock "k8s.io/utils/clock/testing"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
)

const metrics = `# HELP apiserver_requested_deprecated_apis gauge
apiserver_requested_deprecated_apis{group="flowcontrol.apiserver.k8s.io",removed_release="1.37",resource="flowschemas",subresource="",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="flowcontrol.apiserver.k8s.io",removed_release="1.37",resource="flowschemas",subresource="status",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="",removed_release="",resource="componentstatuses",subresource="",version="v1"} 1
apiserver_requested_deprecated_apis{group="x",removed_release="1.40",resource="never",subresource="",version="v1"} 0
apiserver_requested_deprecated_apis{broken
apiserver_request_total{group="",resource="pods"} 12
`

const definitions = `{"items": [
 {"metadata": {"name": "backups.example.com"}, "spec": {"versions": [{"name": "v1", "served": true}, {"name": "v1alpha1", "served": false}]}, "status": {"storedVersions": ["v1alpha1", "v1"]}},
 {"metadata": {"name": "fine.example.com"}, "spec": {"versions": [{"name": "v1", "served": true}]}, "status": {"storedVersions": ["v1"]}},
 {"metadata": {"name": "gone.example.com"}, "spec": {"versions": [{"name": "v1", "served": true}]}, "status": {"storedVersions": ["v0"]}},
 {"metadata": {"name": "old.example.com"}, "spec": {"versions": [{"name": "v1beta1", "served": true, "deprecated": true}]}, "status": {"storedVersions": ["v1beta1"]}}
]}`

// looked is Hosts with one machine that cannot be reached.
type looked struct{}

func (l *looked) Look(_ context.Context, n *cluster.Node, minors []int) (upgrade.Host, error) {
	if n.Name == "w-1" {
		return upgrade.Host{Problem: "no route to host"}, nil
	}
	return upgrade.Host{OS: "Debian", Offers: map[int]upgrade.Offers{minors[len(minors)-1]: {}}}, nil
}

func clusterObjects(t *testing.T) []runtime.Object {
	t.Helper()
	town, err := parseTown("control-plane cp-1 v1.35.4\nworker w-1 v1.35.4\n")
	if err != nil {
		t.Fatal(err)
	}
	maps := func(name, key, value string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name}, Data: map[string]string{key: value}}
	}
	return append(town.objects,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "uid"}},
		maps("kubeadm-config", "ClusterConfiguration", "apiVersion: kubeadm.k8s.io/v1beta4\nkubernetesVersion: v1.35.4\nimageRepository: registry.example.com\ncontrolPlaneEndpoint: lb:6443\netcd: {external: {endpoints: [https://e]}}\n"),
		maps("kubelet-config", "kubelet", "kind: KubeletConfiguration\nfeatureGates: {MemoryManager: true}\n"))
}

func observer(t *testing.T, get func(path string) ([]byte, error)) (*upgrade.Observer, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset(clusterObjects(t)...)
	return &upgrade.Observer{Client: client, Clock: testingclock.NewFakePassiveClock(now),
		Get: func(_ context.Context, path string) ([]byte, error) { return get(path) }}, client
}

func answer(path string) ([]byte, error) {
	if path == "/metrics" {
		return []byte(metrics), nil
	}
	return []byte(definitions), nil
}

func TestObserve(t *testing.T) {
	o, _ := observer(t, answer)
	o.Hosts = &looked{}
	s, err := o.Observe(t.Context(), skew.Version{Minor: 37, Patch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if s.Cluster != "uid" || len(s.Snapshot.Nodes) != 2 || len(s.Unseen) != 0 {
		t.Errorf("cluster %q, %d nodes, unseen %v", s.Cluster, len(s.Snapshot.Nodes), s.Unseen)
	}
	if c := s.Config; c == nil || c.KubernetesVersion != "v1.35.4" || c.ImageRepository != "registry.example.com" || c.Endpoint != "lb:6443" || !c.ExternalEtcd || !c.KubeletGates["MemoryManager"] {
		t.Errorf("config %+v", c)
	}
	want := []upgrade.DeprecatedAPI{{Version: "v1", Resource: "componentstatuses"},
		{Group: "flowcontrol.apiserver.k8s.io", Version: "v1beta3", Resource: "flowschemas", Removed: skew.OfMinor(37)}}
	if !slices.Equal(s.Deprecated, want) {
		t.Errorf("deprecated %+v", s.Deprecated)
	}
	stored := []upgrade.StoredVersion{{Definition: "backups.example.com", Version: "v1alpha1"}, {Definition: "gone.example.com", Version: "v0"},
		{Definition: "old.example.com", Version: "v1beta1", Served: true, Deprecated: true}}
	if !slices.Equal(s.Stored, stored) {
		t.Errorf("stored %+v", s.Stored)
	}
	if s.Hosts["w-1"].Problem == "" || s.Hosts["cp-1"].OS != "Debian" {
		t.Errorf("hosts %+v", s.Hosts)
	}
}

// What may not be read is said; what cannot be reached is an error.
func TestObserveWithoutRights(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "", errors.New("no"))
	o, client := observer(t, func(string) ([]byte, error) { return nil, forbidden })
	client.PrependReactor("get", "configmaps", func(kubetesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden })
	s, err := o.Observe(t.Context(), skew.OfMinor(37))
	if err != nil {
		t.Fatal(err)
	}
	var unseen []string
	for _, f := range s.Unseen {
		unseen = append(unseen, f.Code+" "+f.Object.Name)
	}
	if got := strings.Join(unseen, ", "); s.Config != nil || got != "unread-resource configmaps kube-system/kubeadm-config, unread-resource the path /metrics, unread-resource customresourcedefinitions.apiextensions.k8s.io" {
		t.Errorf("unseen: %s; config %+v", got, s.Config)
	}
	o, _ = observer(t, func(string) ([]byte, error) { return nil, errors.New("connection refused") })
	if _, err := o.Observe(t.Context(), skew.OfMinor(37)); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("an API server that is gone: %v", err)
	}
}

func TestDamagedConfig(t *testing.T) {
	o, client := observer(t, answer)
	client.PrependReactor("get", "configmaps", func(kubetesting.Action) (bool, runtime.Object, error) {
		return true, &corev1.ConfigMap{Data: map[string]string{"ClusterConfiguration": "\t{"}}, nil
	})
	if _, err := o.Observe(t.Context(), skew.OfMinor(37)); err == nil || !strings.Contains(err.Error(), "kube-system/kubeadm-config: its ClusterConfiguration is damaged") {
		t.Error(err)
	}
}

// Where API servers say that they are is asked where the control plane is said to be somebody else's.
func TestObserveServers(t *testing.T) {
	for _, method := range []upgrade.Method{upgrade.Managed, upgrade.Kubeadm} {
		o, client := observer(t, answer)
		o.Method = method
		own := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}, Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"192.0.2.7"}}, {Addresses: []string{"192.0.2.3"}}}}
		if err := client.Tracker().Add(own); err != nil {
			t.Fatal(err)
		}
		want := map[upgrade.Method][]string{upgrade.Managed: {"192.0.2.3", "192.0.2.7"}}[method]
		s, err := o.Observe(t.Context(), skew.OfMinor(37))
		if err != nil || !slices.Equal(s.Servers, want) || len(s.Unseen) != 0 {
			t.Errorf("%s: %v, %v, %v", method, s.Servers, s.Unseen, err)
		}
	}
	o, _ := observer(t, answer)
	o.Method = upgrade.Managed
	s, err := o.Observe(t.Context(), skew.OfMinor(37))
	if err != nil || len(s.Unseen) != 1 || s.Unseen[0].Object.Name != "endpointslices default/kubernetes" {
		t.Errorf("that cannot be read: %v, %v", s.Unseen, err)
	}
}
