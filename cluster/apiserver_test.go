// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// apiServer plays an API server that has nothing in it. Every request is
// remembered; answer may answer one in its own way.
type apiServer struct {
	*httptest.Server
	answer func(resource string, query url.Values) (status int, body any)

	mu       sync.Mutex
	requests []request
}

type request struct {
	resource string // last element of the path
	query    url.Values
}

// listKinds are the kinds of list that the resources of sources answer with.
var listKinds = map[string]string{
	"nodes": "NodeList", "pods": "PodList", "poddisruptionbudgets": "PodDisruptionBudgetList",
	"deployments": "DeploymentList", "replicasets": "ReplicaSetList", "statefulsets": "StatefulSetList",
	"daemonsets": "DaemonSetList", "jobs": "JobList", "replicationcontrollers": "ReplicationControllerList",
	"persistentvolumes": "PersistentVolumeList", "persistentvolumeclaims": "PersistentVolumeClaimList",
	"volumeattachments":               "VolumeAttachmentList",
	"validatingwebhookconfigurations": "ValidatingWebhookConfigurationList",
	"mutatingwebhookconfigurations":   "MutatingWebhookConfigurationList",
	"services":                        "ServiceList", "namespaces": "NamespaceList", "priorityclasses": "PriorityClassList",
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource := parts[len(parts)-1]
	s.mu.Lock()
	s.requests = append(s.requests, request{resource, r.URL.Query()})
	s.mu.Unlock()
	status, body := http.StatusOK, any(nil)
	if s.answer != nil {
		status, body = s.answer(resource, r.URL.Query())
	}
	if body == nil && status == http.StatusOK {
		if resource == "version" {
			body = map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.2", "emulationMajor": "1", "emulationMinor": "36"}
		} else {
			body = s.list(parts, map[string]any{"resourceVersion": "42"}, nil)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// list is the body of a list of the resource that the path's parts end with.
func (s *apiServer) list(parts []string, meta map[string]any, items []any) map[string]any {
	version := strings.Join(parts[1:len(parts)-1], "/") // api/v1/x, apis/apps/v1/x
	return map[string]any{"kind": listKinds[parts[len(parts)-1]], "apiVersion": version, "metadata": meta, "items": items}
}

func (s *apiServer) asked(resource string) []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	var queries []url.Values
	for _, r := range s.requests {
		if r.resource == resource {
			queries = append(queries, r.query)
		}
	}
	return queries
}

func refused(code int32, reason metav1.StatusReason, message string) (int, any) {
	return int(code), metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}
}

func startAPI(t *testing.T, answer func(string, url.Values) (int, any)) (*apiServer, kubernetes.Interface) {
	t.Helper()
	s := &apiServer{answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s, clientFor(t, &rest.Config{Host: s.URL})
}

func clientFor(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
