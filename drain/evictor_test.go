// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

// request is what a test server saw.
type request struct {
	method, path string
	eviction     policyv1.Eviction
	options      metav1.DeleteOptions
}

// record serves the answer to every request and returns what was asked.
func record(t *testing.T, code int, header map[string]string, body any) (kubernetes.Interface, *[]request) {
	t.Helper()
	var seen []request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := request{method: r.Method, path: r.URL.Path}
		into := any(&got.options)
		if r.Method == http.MethodPost {
			into = &got.eviction
		}
		if err := json.NewDecoder(r.Body).Decode(into); err != nil {
			t.Errorf("decode the request: %v", err)
		}
		seen = append(seen, got)
		w.Header().Set("Content-Type", "application/json")
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return client, &seen
}

var success = metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess, Code: 201}

func TestEvictionRequest(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-0", UID: "u1"}}
	for _, tt := range []struct {
		name    string
		options EvictOptions
		want    metav1.DeleteOptions
	}{
		{"plain", EvictOptions{}, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(pod.UID)}}},
		{
			"with all", EvictOptions{GracePeriod: ptr.To[int64](0), DryRun: true},
			metav1.DeleteOptions{
				Preconditions: &metav1.Preconditions{UID: ptr.To(pod.UID)}, GracePeriodSeconds: ptr.To[int64](0), DryRun: []string{"All"},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, seen := record(t, http.StatusCreated, nil, success)
			if err := NewEvictor(client).Evict(t.Context(), pod, tt.options); err != nil {
				t.Fatal(err)
			}
			got := (*seen)[0]
			if got.method != http.MethodPost || got.path != "/api/v1/namespaces/shop/pods/cart-0/eviction" {
				t.Errorf("%s %s", got.method, got.path)
			}
			if got.eviction.APIVersion != "policy/v1" || got.eviction.Kind != "Eviction" || got.eviction.Name != "cart-0" || got.eviction.Namespace != "shop" {
				t.Errorf("eviction %+v", got.eviction)
			}
			checkOptions(t, *got.eviction.DeleteOptions, tt.want)

			client, seen = record(t, http.StatusOK, nil, success)
			if err := NewDeleter(client).Evict(t.Context(), pod, tt.options); err != nil {
				t.Fatal(err)
			}
			got = (*seen)[0]
			if got.method != http.MethodDelete || got.path != "/api/v1/namespaces/shop/pods/cart-0" {
				t.Errorf("%s %s", got.method, got.path)
			}
			checkOptions(t, got.options, tt.want)
		})
	}
}

func checkOptions(t *testing.T, got, want metav1.DeleteOptions) {
	t.Helper()
	got.TypeMeta = metav1.TypeMeta{}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Errorf("options %s\nwant    %s", a, b)
	}
}

// client-go would sleep ten times ten seconds on this answer.
func TestEvictorDoesNotRetry(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-0", UID: "u1"}}
	status := budgetError(10, "The disruption budget b is still being processed by the server.").ErrStatus
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	for name, make := range map[string]func(kubernetes.Interface) Evictor{"eviction": NewEvictor, "deletion": NewDeleter} {
		t.Run(name, func(t *testing.T) {
			client, seen := record(t, http.StatusTooManyRequests, map[string]string{"Retry-After": "10"}, status)
			if got := classify(make(client).Evict(t.Context(), pod, EvictOptions{})); got.verdict != budgetUnobserved {
				t.Errorf("%+v", got)
			}
			if len(*seen) != 1 {
				t.Errorf("%d requests", len(*seen))
			}
		})
	}
}
