// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/event"
	"refit.dev/refit/manifest"
	"refit.dev/refit/served"
)

// discovery is what the fake API server serves.
var discovery = map[string]string{
	"/api":  "{kind: APIVersions, versions: [v1]}",
	"/apis": `{kind: APIGroupList, apiVersion: v1, groups: [` + group("apps") + "," + group("apiextensions.k8s.io") + "," + group("admissionregistration.k8s.io") + `]}`,
	"/api/v1": resources("v1", "namespaces Namespace false", "configmaps ConfigMap true", "secrets Secret true", "serviceaccounts ServiceAccount true",
		"pods Pod true", "services Service true"),
	"/apis/apps/v1":                         resources("apps/v1", "deployments Deployment true"),
	"/apis/apiextensions.k8s.io/v1":         resources("apiextensions.k8s.io/v1", "customresourcedefinitions CustomResourceDefinition false"),
	"/apis/admissionregistration.k8s.io/v1": resources("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations ValidatingWebhookConfiguration false"),
}

func group(name string) string {
	return fmt.Sprintf("{name: %[1]s, versions: [{groupVersion: %[1]s/v1, version: v1}], preferredVersion: {groupVersion: %[1]s/v1, version: v1}}", name)
}

func resources(gv string, list ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{kind: APIResourceList, groupVersion: %s, resources: [", gv)
	for _, text := range list {
		f := strings.Fields(text)
		fmt.Fprintf(&b, "{name: %s, singularName: %s, kind: %s, namespaced: %s, verbs: [get, list, patch, create]},", f[0], strings.ToLower(f[1]), f[1], f[2])
	}
	return b.String() + "]}"
}

// fakeAPI is an API server that keeps what it is given, and takes down what it is asked.
type fakeAPI struct {
	t *testing.T

	mu      sync.Mutex
	objects map[string]map[string]any // by path
	asked   []string                  // writes: "PATCH path" with what differs from the usual, in order
	serial  int
	// refuse is what is answered to a write instead of doing it: one after the other, the last one for ever if it is
	// named "always".
	refuse map[string][]metav1.Status
	// onPatch is called with each write before it is answered.
	onPatch func(path string)
	// establishing is how many looks at a definition find it not established.
	establishing int
	// notes has it note who has applied an object.
	notes bool
}

func newFakeAPI(t *testing.T, objects ...string) (*fakeAPI, *served.API) {
	t.Helper()
	f := &fakeAPI{t: t, objects: map[string]map[string]any{}, refuse: map[string][]metav1.Status{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	api, err := served.Read(t.Context(), &rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range loadObjects(t, objects...) {
		r, _, err := newKinds(api, nil).of(o.GroupVersionKind())
		if err != nil {
			t.Fatal(err)
		}
		f.store(r.Path(o.GetNamespace(), o.GetName()), o.Object)
	}
	return f, api
}

// loadObjects parses objects.
func loadObjects(t *testing.T, texts ...string) []Object {
	t.Helper()
	var all []Object
	for i, text := range texts {
		objects, err := manifest.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range objects {
			all = append(all, Object{u, fmt.Sprintf("%d.yaml", i)})
		}
	}
	return all
}

// store keeps an object; it gets a UID, and another version if it is another one.
func (f *fakeAPI) store(path string, object map[string]any) (created bool) {
	old := f.objects[path]
	metadata := maps.Clone(object["metadata"].(map[string]any))
	object = maps.Clone(object)
	object["metadata"] = metadata
	f.serial++
	metadata["uid"], metadata["resourceVersion"] = fmt.Sprintf("uid-%d", f.serial), fmt.Sprint(f.serial)
	if old != nil {
		of := old["metadata"].(map[string]any)
		metadata["uid"] = of["uid"]
		if metadata["deletionTimestamp"] == nil && of["deletionTimestamp"] != nil {
			metadata["deletionTimestamp"] = of["deletionTimestamp"]
		}
		before, after := maps.Clone(of), maps.Clone(metadata)
		delete(before, "resourceVersion")
		delete(after, "resourceVersion")
		a, b := maps.Clone(old), maps.Clone(object)
		a["metadata"], b["metadata"] = before, after
		if text(f.t, a) == text(f.t, b) {
			return false
		}
	}
	f.objects[path] = object
	return old == nil
}

func text(t *testing.T, v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	answer := func(code int, v any) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(text(f.t, v)))
	}
	if known, ok := discovery[r.URL.Path]; ok {
		body, err := yaml.YAMLToJSON([]byte(known))
		if err != nil {
			f.t.Error(err)
		}
		_, _ = w.Write(body)
		return
	}
	if r.Method == http.MethodPatch {
		f.patch(r, answer)
		return
	}
	if object, ok := f.objects[r.URL.Path]; ok {
		if f.establishing > 0 && strings.Contains(r.URL.Path, "customresourcedefinitions") && !strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata") {
			f.establishing--
			answer(http.StatusOK, object)
			return
		}
		if strings.Contains(r.URL.Path, "customresourcedefinitions") {
			object = maps.Clone(object)
			object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True"}}}
		}
		answer(http.StatusOK, object)
		return
	}
	items := []any{}
	for _, path := range slices.Sorted(maps.Keys(f.objects)) {
		if strings.HasPrefix(path, r.URL.Path+"/") {
			items = append(items, f.objects[path])
		}
	}
	if r.URL.Query().Get("limit") != "" {
		answer(http.StatusOK, map[string]any{"items": items})
		return
	}
	answer(http.StatusNotFound, status(http.StatusNotFound, metav1.StatusReasonNotFound, "not found"))
}

func (f *fakeAPI) patch(r *http.Request, answer func(int, any)) {
	line := r.URL.Path
	q := r.URL.Query()
	if q.Get("fieldManager") != "refit" || q.Get("fieldValidation") != "Strict" || r.Header.Get("Content-Type") != "application/apply-patch+yaml" {
		f.t.Errorf("%s asked as %v, %v", r.URL.Path, q, r.Header)
	}
	if q.Get("force") == "true" {
		line += " force"
	}
	dry := q.Get("dryRun") == "All"
	if dry {
		line += " dry"
	}
	f.asked = append(f.asked, line)
	if f.onPatch != nil {
		f.onPatch(r.URL.Path)
	}
	if queue := f.refuse[r.URL.Path]; len(queue) > 0 {
		s := queue[0]
		if s.Message != "always" {
			f.refuse[r.URL.Path] = queue[1:]
		}
		answer(int(s.Code), s)
		return
	}
	var object map[string]any
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		f.t.Error(err)
	}
	if f.notes {
		object["metadata"].(map[string]any)["managedFields"] = []any{map[string]any{"manager": q.Get("fieldManager"), "operation": "Apply"}}
	}
	before := f.objects[r.URL.Path]
	created := f.store(r.URL.Path, object)
	stored := f.objects[r.URL.Path]
	if dry {
		if delete(f.objects, r.URL.Path); before != nil {
			f.objects[r.URL.Path] = before
		}
	}
	code := http.StatusOK
	if created {
		code = http.StatusCreated
	}
	answer(code, stored)
}

func status(code int32, reason metav1.StatusReason, message string, causes ...metav1.StatusCause) metav1.Status {
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
		Details: &metav1.StatusDetails{Causes: causes},
	}
}

// outcome is what an import told.
type outcome struct {
	counts Counts
	events []string // sorted: type, object, reason or message
	hints  []string
	err    error
}

// run prepares and applies objects; the clock goes on whenever somebody waits for it.
func run(ctx context.Context, t *testing.T, api *served.API, objects []Object, o Options) outcome {
	t.Helper()
	p, err := Prepare(ctx, api, objects, "default")
	if err != nil {
		t.Fatal(err)
	}
	clk := clocktesting.NewFakeClock(time.Unix(1e9, 0))
	var mu sync.Mutex
	var out outcome
	o.Clock = clk
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	o.Sink = event.SinkFunc(func(e event.Event) {
		mu.Lock()
		defer mu.Unlock()
		out.events = append(out.events, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Type, e.Object, e.Reason, e.Message)))
		if e.Hint != "" {
			out.hints = append(out.hints, e.Hint)
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		out.counts, out.err = p.Apply(ctx, o)
	}()
	for {
		select {
		case <-done:
			slices.Sort(out.events)
			return out
		default:
		}
		if clk.HasWaiters() {
			clk.Step(time.Second)
		}
		runtime.Gosched()
	}
}
