// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package served

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/internal/hint"
)

// answers are what a fake API server says, in YAML, by path; what is not there is not found.
var answers = map[string]string{
	"/api": "{kind: APIVersions, versions: [v1]}",
	"/apis": `{kind: APIGroupList, apiVersion: v1, groups: [
  {name: apps, versions: [{groupVersion: apps/v1, version: v1}], preferredVersion: {groupVersion: apps/v1, version: v1}},
  {name: example.com, versions: [{groupVersion: example.com/v2beta1, version: v2beta1}, {groupVersion: example.com/v1, version: v1}],
   preferredVersion: {groupVersion: example.com/v1, version: v1}},
  {name: metrics.example.com, versions: [{groupVersion: metrics.example.com/v1, version: v1}], preferredVersion: {groupVersion: metrics.example.com/v1, version: v1}},
  {name: away.example.com, versions: [{groupVersion: away.example.com/v1, version: v1}], preferredVersion: {groupVersion: away.example.com/v1, version: v1}}]}`,
	"/api/v1": `{kind: APIResourceList, groupVersion: v1, resources: [
  {name: pods, singularName: pod, namespaced: true, kind: Pod, verbs: [get, list, patch], shortNames: [po], categories: [all]},
  {name: pods/eviction, singularName: "", namespaced: true, kind: Eviction, group: policy, version: v1, verbs: [create]},
  {name: namespaces, singularName: namespace, namespaced: false, kind: Namespace, verbs: [get, list], shortNames: [ns]}]}`,
	"/apis/apps/v1": `{kind: APIResourceList, groupVersion: apps/v1, resources: [
  {name: deployments, singularName: deployment, namespaced: true, kind: Deployment, verbs: [get, list], shortNames: [deploy], categories: [all]}]}`,
	"/apis/example.com/v1": `{kind: APIResourceList, groupVersion: example.com/v1, resources: [
  {name: things, singularName: thing, namespaced: true, kind: Thing, verbs: [get, list]}]}`,
	"/apis/example.com/v2beta1": `{kind: APIResourceList, groupVersion: example.com/v2beta1, resources: [
  {name: pods, singularName: pod, namespaced: true, kind: Pod, verbs: [get]},
  {name: things, singularName: thing, namespaced: true, kind: Thing, verbs: [get, list]}]}`,
	"/apis/metrics.example.com/v1": `{kind: APIResourceList, groupVersion: metrics.example.com/v1, resources: [
  {name: loads, singularName: load, namespaced: false, kind: Load, verbs: [list]}]}`,
	"/apis/apiregistration.k8s.io/v1/apiservices": `{items: [{spec: {group: apps, version: v1}}, {spec: {group: metrics.example.com, version: v1, service: {name: metrics}}}]}`,
}

// serve is a fake API server; also is what it answers besides.
func serve(t *testing.T, also http.HandlerFunc) *rest.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, known := answers[r.URL.Path]
		switch {
		case strings.HasPrefix(r.URL.Path, "/apis/away.example.com"):
			w.WriteHeader(http.StatusServiceUnavailable)
		case known:
			body, err := yaml.YAMLToJSON([]byte(text))
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		case also != nil:
			also(w, r)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL, QPS: -1}
}

func TestRead(t *testing.T) {
	api, err := Read(t.Context(), serve(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range api.Resources {
		r := &api.Resources[i]
		words := []string{r.GroupVersion().String(), r.Kind}
		for word, is := range map[string]bool{"preferred": r.Preferred, "aggregated": r.Aggregated, "namespaced": r.Namespaced} {
			if is {
				words = append(words, word)
			}
		}
		slices.Sort(words[2:])
		got = append(got, strings.Join(words, " "))
	}
	want := []string{
		"v1 Namespace preferred", "v1 Pod namespaced preferred", "apps/v1 Deployment namespaced preferred",
		"example.com/v2beta1 Pod namespaced preferred", "example.com/v1 Thing namespaced preferred", "example.com/v2beta1 Thing namespaced",
		"metrics.example.com/v1 Load aggregated preferred",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(api.Missing) != 1 || api.Missing[0].Group != (schema.GroupVersion{Group: "away.example.com", Version: "v1"}) || api.Missing[0].Why == nil {
		t.Errorf("missing: %+v", api.Missing)
	}
}

// A server that cannot be asked at all is an error that says what to do.
func TestReadFails(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if _, err := Read(t.Context(), &rest.Config{Host: server.URL, QPS: -1}); err == nil || hint.Of(err) == "" {
		t.Errorf("%v, %q", err, hint.Of(err))
	}
}

func TestNamed(t *testing.T) {
	api, err := Read(t.Context(), serve(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string][]string{
		"pods": {"pods", "pods.example.com"}, "Pod": {"pods", "pods.example.com"}, "po": {"pods"}, "pods.example.com": {"pods.example.com"}, "pods.": {"pods"},
		"deploy": {"deployments.apps"}, "DEPLOYMENTS.APPS": {"deployments.apps"}, "deployments.example.com": nil, "all": {"pods", "deployments.apps"},
		"thing": {"things.example.com"}, "pods/eviction": nil, "eviction": nil, "": nil,
	} {
		var got []string
		for _, r := range api.Named(word) {
			if !r.Preferred {
				t.Errorf("%s is %s, which the server would rather not be asked for", word, r.GroupVersionResource)
			}
			got = append(got, r.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q is %v, want %v", word, got, want)
		}
	}
}

func TestResource(t *testing.T) {
	things := Resource{GroupVersionResource: schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "things"}, Namespaced: true, Verbs: []string{"get", "list"}}
	nodes := Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "nodes"}}
	for got, want := range map[string]string{
		things.Path("", ""):      "/apis/example.com/v1/things",
		things.Path("shop", ""):  "/apis/example.com/v1/namespaces/shop/things",
		things.Path("shop", "a"): "/apis/example.com/v1/namespaces/shop/things/a",
		nodes.Path("shop", "n"):  "/api/v1/nodes/n",
		nodes.String():           "nodes",
		things.String():          "things.example.com",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if !things.Can("get", "list") || things.Can("get", "patch") || !things.Can() {
		t.Error(things.Verbs)
	}
}

// An answer is what was on the wire; an error has all that the server has said.
func TestDo(t *testing.T) {
	const text = `{"kind": "Thing",  "big": 1152921504606846977}`
	config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/good" {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(text))
			return
		}
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonConflict, Code: http.StatusConflict,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeFieldManagerConflict, Field: ".spec.replicas"}}},
		})
	})
	api, err := Read(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	got, code, err := Do(t.Context(), api.Client.Get().AbsPath("/good"))
	if err != nil || string(got) != text || code != http.StatusCreated {
		t.Errorf("%s, %d, %v", got, code, err)
	}
	_, _, err = Do(t.Context(), api.Client.Get().AbsPath("/bad"))
	var status apierrors.APIStatus
	if !apierrors.IsConflict(err) || !errors.As(err, &status) || status.Status().Details == nil || status.Status().Details.Causes[0].Field != ".spec.replicas" {
		t.Errorf("%v", err)
	}
}
