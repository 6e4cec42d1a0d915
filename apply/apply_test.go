// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	defaultNamespace = "{apiVersion: v1, kind: Namespace, metadata: {name: default}}"
	shopNamespace    = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
	things           = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.example.com}, spec: {group: example.com, scope: Namespaced,
  names: {plural: things, kind: Thing}, versions: [{name: v1, served: true}, {name: v2, served: false}]}}`
	thing    = "{apiVersion: example.com/v1, kind: Thing, metadata: {name: one, namespace: shop}}"
	settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {a: b}}"
	owned    = `{apiVersion: v1, kind: ConfigMap, metadata: {name: a-owned, namespace: shop, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: settings}]}}`
	web      = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 2}}"
	webhook  = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: gate}}"

	settingsPath = "/api/v1/namespaces/shop/configmaps/settings"
	ownedPath    = "/api/v1/namespaces/shop/configmaps/a-owned"
	webPath      = "/apis/apps/v1/namespaces/shop/deployments/web"
	shopPath     = "/api/v1/namespaces/shop"
	thingPath    = "/apis/example.com/v1/namespaces/shop/things/one"
	thingsPath   = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com"
	webhookPath  = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gate"
)

// What others need is made before them, whatever the order in the files; a definition is waited for; and doing it
// again changes nothing.
func TestOrder(t *testing.T) {
	f, api := newFakeAPI(t, defaultNamespace)
	f.establishing = 3
	f.onPatch = func(path string) {
		if path == thingPath && f.establishing > 0 {
			t.Error("a thing came before its definition was established")
		}
	}
	objects := func() []Object {
		return loadObjects(t, webhook, thing, web, owned, settings, things, shopNamespace, "{apiVersion: v1, kind: ConfigMap, metadata: {name: nowhere}}")
	}
	out := run(t.Context(), t, api, objects(), Options{})
	if out.err != nil || out.counts["created"] != 8 || len(out.events) != 8 {
		t.Fatalf("%+v", out)
	}
	at := func(path string) int { return slices.Index(f.asked, path) }
	for _, pair := range [][2]string{{shopPath, settingsPath}, {settingsPath, ownedPath}, {settingsPath, webPath}, {thingsPath, thingPath}, {webPath, webhookPath}, {thingPath, webhookPath}} {
		if at(pair[0]) < 0 || at(pair[0]) > at(pair[1]) {
			t.Errorf("%s did not come before %s: %q", pair[0], pair[1], f.asked)
		}
	}
	if at("/api/v1/namespaces/default/configmaps/nowhere") < 0 {
		t.Errorf("an object without a namespace: %q", f.asked)
	}
	owner := f.objects[settingsPath]["metadata"].(map[string]any)["uid"]
	refs := f.objects[ownedPath]["metadata"].(map[string]any)["ownerReferences"].([]any)
	if got := refs[0].(map[string]any)["uid"]; got != owner || owner == nil {
		t.Errorf("the owner is %v, and not %v", got, owner)
	}
	served := slices.DeleteFunc(objects(), func(o Object) bool { return o.GetKind() == "Thing" }) // which the fake's discovery does not learn of
	again := run(t.Context(), t, api, served, Options{})
	if again.err != nil || again.counts["unchanged"] != 7 || again.counts["created"]+again.counts["configured"]+again.counts["failed"] > 0 {
		t.Errorf("again: %+v", again)
	}
	changed := run(t.Context(), t, api, loadObjects(t, strings.Replace(web, "2", "3", 1)), Options{})
	if changed.counts["configured"] != 1 {
		t.Errorf("changed: %+v", changed)
	}
}

// TestTakenOver: an object of which nothing changes but who has set it is unchanged, and one of which something else does is not.
func TestTakenOver(t *testing.T) {
	const settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {a: b}}"
	f, api := newFakeAPI(t, "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}", settings)
	f.notes = true
	version := func() any { return f.objects[settingsPath]["metadata"].(map[string]any)["resourceVersion"] }
	for i, c := range []struct {
		text, did string
		moves     bool
	}{
		{settings, "unchanged", true}, // it is refit's from then on
		{settings, "unchanged", false},
		{strings.Replace(settings, "b}", "c}", 1), "configured", true},
	} {
		before := version()
		out := run(t.Context(), t, api, loadObjects(t, c.text), Options{})
		if out.err != nil || out.counts[c.did] != 1 || (version() != before) != c.moves {
			t.Errorf("import %d: %+v, version %v after %v", i, out, version(), before)
		}
	}
	delete(f.objects[settingsPath]["metadata"].(map[string]any), "managedFields")
	if out := run(t.Context(), t, api, loadObjects(t, strings.Replace(settings, "b}", "d}", 1)), Options{}); out.counts["configured"] != 1 {
		t.Errorf("taken over with another content: %+v", out)
	}
}

func conflict(by string) metav1.Status {
	return status(http.StatusConflict, metav1.StatusReasonConflict, "always",
		metav1.StatusCause{Type: metav1.CauseTypeFieldManagerConflict, Message: fmt.Sprintf("conflict with %q using apps/v1", by), Field: ".spec.replicas"})
}

// What may pass is tried again, and nothing else.
func TestAgain(t *testing.T) {
	webhookAway := status(http.StatusInternalServerError, metav1.StatusReasonInternalError, `Internal error occurred: failed calling webhook "gate.example.com": connection refused`)
	invalid := status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "always")
	away := status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "away")
	for name, c := range map[string]struct {
		answers []metav1.Status
		asked   int
		made    bool
		says    string
	}{
		"a webhook that comes up":    {[]metav1.Status{webhookAway, webhookAway}, 3, true, ""},
		"a server that comes back":   {[]metav1.Status{away}, 2, true, ""},
		"another's write in between": {[]metav1.Status{status(http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified")}, 2, true, ""},
		"a conflict":                 {[]metav1.Status{conflict("jane")}, 1, false, "conflict: jane has set .spec.replicas"},
		"a mistake":                  {[]metav1.Status{invalid}, 1, false, "always"},
		"a broken server":            {[]metav1.Status{status(http.StatusInternalServerError, metav1.StatusReasonInternalError, "always")}, 1, false, "always"},
	} {
		t.Run(name, func(t *testing.T) {
			f, api := newFakeAPI(t, shopNamespace)
			f.refuse[webPath] = c.answers
			out := run(t.Context(), t, api, loadObjects(t, web, settings), Options{})
			n := 0
			for _, path := range f.asked {
				if path == webPath {
					n++
				}
			}
			if out.err != nil || n != c.asked || (f.objects[webPath] != nil) != c.made || out.counts["created"] != map[bool]int{true: 2, false: 1}[c.made] {
				t.Errorf("%+v, asked %d times", out, n)
			}
			if c.says != "" && (out.counts["failed"] != 1 || !strings.Contains(strings.Join(out.events, "\n"), c.says)) {
				t.Errorf("%+v", out)
			}
		})
	}
	t.Run("no longer than that", func(t *testing.T) {
		f, api := newFakeAPI(t, shopNamespace)
		for range 1000 {
			f.refuse[webPath] = append(f.refuse[webPath], away)
		}
		out := run(t.Context(), t, api, loadObjects(t, web), Options{})
		if out.counts["failed"] != 1 || len(f.refuse[webPath]) == 0 {
			t.Errorf("%+v", out)
		}
	})
}

// Force is said to the server, and who is in the way is told.
func TestForce(t *testing.T) {
	f, api := newFakeAPI(t, shopNamespace)
	if out := run(t.Context(), t, api, loadObjects(t, web), Options{Force: true}); out.counts["created"] != 1 || !slices.Equal(f.asked, []string{webPath + " force"}) {
		t.Errorf("%+v, %q", out, f.asked)
	}
	f.refuse[webPath] = []metav1.Status{conflict("jane")}
	if out := run(t.Context(), t, api, loadObjects(t, web), Options{}); len(out.hints) != 1 || !strings.Contains(out.hints[0], "--force-conflicts") {
		t.Errorf("%+v", out)
	}
}

// What needs something that could not be made is not tried, and what does not is made.
func TestKeptBack(t *testing.T) {
	refused := status(http.StatusForbidden, metav1.StatusReasonForbidden, "always")
	t.Run("a namespace", func(t *testing.T) {
		f, api := newFakeAPI(t, defaultNamespace)
		f.refuse[shopPath] = []metav1.Status{refused}
		out := run(t.Context(), t, api, loadObjects(t, shopNamespace, settings, "{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: default}}"), Options{})
		if out.counts["failed"] != 2 || out.counts["created"] != 1 || slices.Contains(f.asked, settingsPath) || !strings.Contains(strings.Join(out.events, "\n"), "its namespace could not be made") {
			t.Errorf("%+v, %q", out, f.asked)
		}
	})
	t.Run("a definition", func(t *testing.T) {
		f, api := newFakeAPI(t, shopNamespace)
		f.refuse[thingsPath] = []metav1.Status{refused}
		out := run(t.Context(), t, api, loadObjects(t, things, thing, settings), Options{})
		if out.counts["failed"] != 2 || out.counts["created"] != 1 || slices.Contains(f.asked, thingPath) {
			t.Errorf("%+v, %q", out, f.asked)
		}
	})
	t.Run("a definition that is not established", func(t *testing.T) {
		f, api := newFakeAPI(t, shopNamespace)
		f.establishing = 1 << 30
		out := run(t.Context(), t, api, loadObjects(t, things, thing), Options{})
		if out.counts["failed"] != 2 || slices.Contains(f.asked, thingPath) || !strings.Contains(strings.Join(out.events, "\n"), "it is not established after 1m0s") {
			t.Errorf("%+v, %q", out, f.asked)
		}
	})
}

// A dry run changes nothing, and says what it could not ask.
func TestDryRun(t *testing.T) {
	f, api := newFakeAPI(t, shopNamespace, settings)
	out := run(t.Context(), t, api, loadObjects(t, "{apiVersion: v1, kind: Namespace, metadata: {name: new}}", things, thing, settings, web,
		"{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: new}}"), Options{DryRun: true})
	if out.err != nil || out.counts["created"] != 3 || out.counts["unchanged"] != 1 || out.counts["unchecked"] != 2 || len(f.objects) != 2 {
		t.Errorf("%+v, %d objects", out, len(f.objects))
	}
	for _, line := range f.asked {
		if !strings.HasSuffix(line, " dry") {
			t.Errorf("%s was asked for in earnest", line)
		}
	}
}

// An interruption is the end, with the reason; what was not begun is not begun.
func TestInterrupted(t *testing.T) {
	f, api := newFakeAPI(t, shopNamespace)
	stopped := errors.New("Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	f.onPatch = func(path string) {
		if path == settingsPath {
			cancel(stopped)
		}
	}
	out := run(ctx, t, api, loadObjects(t, settings, web), Options{})
	if !errors.Is(out.err, stopped) || slices.Contains(f.asked, webPath) {
		t.Errorf("%+v, %q", out, f.asked)
	}
}
