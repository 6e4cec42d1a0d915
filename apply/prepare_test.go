// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"refit.dev/refit/export"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/manifest"
	"refit.dev/refit/vault/seal"
)

// What cannot work is refused before anything is written.
func TestPrepareRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		objects []string
		says    string
		blocked bool
	}{
		"another kind":                 {[]string{"{apiVersion: v1, kind: Nonsense, metadata: {name: a}}"}, "does not serve Nonsense in version v1", false},
		"another version":              {[]string{"{apiVersion: apps/v1beta1, kind: Deployment, metadata: {name: a}}"}, "serves Deployment.apps in version v1, not in v1beta1", false},
		"a version that is not served": {[]string{things, strings.Replace(thing, "v1", "v2", 1)}, "does not serve Thing.example.com in version v2", false},
		"twice":                        {[]string{settings, settings}, "is in 0.yaml and in 1.yaml", false},
		"twice by the namespace":       {[]string{"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}"}, "is in 0.yaml and in 1.yaml", false},
		"no such namespace":            {[]string{"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: nowhere}}"}, "there is no namespace nowhere", false},
		"owners in a circle": {[]string{
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: b}]}}",
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: b, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a}]}}",
		}, "circle", false},
		"a namespace that goes": {[]string{"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: going}}"}, "is deleting namespace going", true},
	} {
		t.Run(name, func(t *testing.T) {
			f, api := newFakeAPI(t, defaultNamespace, shopNamespace, `{apiVersion: v1, kind: Namespace, metadata: {name: going, deletionTimestamp: "2026-01-01T00:00:00Z"}}`)
			_, err := Prepare(t.Context(), api, loadObjects(t, c.objects...), "default")
			_, input := errors.AsType[*InputError](err)
			_, blocked := errors.AsType[*BlockedError](err)
			if blocked != c.blocked || input == c.blocked || !strings.Contains(err.Error(), c.says) || len(f.asked) > 0 {
				t.Errorf("%v, %q", err, f.asked)
			}
		})
	}
}

// What is there is told from what is new, whether it is asked for one by one or by lists.
func TestPrepareLooks(t *testing.T) {
	for _, n := range []int{3, fewObjects + 3} {
		var there, all []string
		for i := range n {
			text := fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c-%d, namespace: shop}}", i)
			all = append(all, text)
			if i%3 == 0 {
				there = append(there, text)
			}
		}
		_, api := newFakeAPI(t, append(there, shopNamespace)...)
		p, err := Prepare(t.Context(), api, loadObjects(t, all...), "default")
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Steps) != 1 || p.Steps[0].Phase != manifest.Config || p.Steps[0].Existing != len(there) || p.Steps[0].New != n-len(there) {
			t.Errorf("of %d: %+v", n, p.Steps)
		}
	}
}

// An owner that is nowhere is told of, one that is in the cluster alone is found.
func TestOwners(t *testing.T) {
	_, api := newFakeAPI(t, shopNamespace)
	p, err := Prepare(t.Context(), api, loadObjects(t, owned), "default")
	if err != nil || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "ConfigMap settings, which is neither in the cluster nor in the files") {
		t.Errorf("%+v, %v", p, err)
	}
	f, api := newFakeAPI(t, shopNamespace, settings)
	out := run(t.Context(), t, api, loadObjects(t, owned), Options{})
	refs := f.objects[ownedPath]["metadata"].(map[string]any)["ownerReferences"].([]any)
	if out.counts["created"] != 1 || refs[0].(map[string]any)["uid"] != f.objects[settingsPath]["metadata"].(map[string]any)["uid"] {
		t.Errorf("%+v, %v", out, refs)
	}
}

// What a cluster stands on is told if it is there.
func TestSystem(t *testing.T) {
	system := []string{
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-proxy, namespace: kube-system}}",
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: cluster-info, namespace: kube-public}}",
		"{apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}}",
		"{apiVersion: v1, kind: Namespace, metadata: {name: kube-public, labels: {kubernetes.io/metadata.name: kube-public, pod-security.kubernetes.io/enforce: restricted}}}",
	}
	others := []string{
		"{apiVersion: v1, kind: Namespace, metadata: {name: kube-system, labels: {kubernetes.io/metadata.name: kube-system}}}",
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: default}}", defaultNamespace, shopNamespace, settings,
	}
	_, api := newFakeAPI(t, append(system, others...)...)
	fresh := "{apiVersion: v1, kind: ConfigMap, metadata: {name: new, namespace: kube-system}}"
	p, err := Prepare(t.Context(), api, loadObjects(t, append(append(system, others...), fresh)...), "default")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(p.System)
	if want := []string{"ConfigMap kube-public/cluster-info", "ConfigMap kube-system/kube-proxy", "Namespace kube-public", "Service default/kubernetes"}; !slices.Equal(p.System, want) {
		t.Errorf("%q", p.System)
	}
}

// A difference shows what comes and goes, and no value of a Secret.
func TestDiff(t *testing.T) {
	const secret = "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop}, data: {pin: MTIz, same: c2FtZQ==}}"
	f, api := newFakeAPI(t, shopNamespace, settings, secret, web)
	p, err := Prepare(t.Context(), api, loadObjects(t, strings.Replace(settings, "b}", "c}", 1), strings.Replace(secret, "MTIz", "NDU2", 1), web, "{apiVersion: v1, kind: Secret, metadata: {name: fresh, namespace: shop}, stringData: {a: open-sesame}}"), "default")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	err = p.Diff(t.Context(), Options{}, func(d Difference) error {
		shown[d.Key.String()] = strings.Join(d.Lines, "\n")
		return d.Failed
	})
	if err != nil || len(shown) != 3 || !strings.Contains(shown["ConfigMap shop/settings"], "-  a: b") || !strings.Contains(shown["ConfigMap shop/settings"], "+  a: c") {
		t.Errorf("%q, %v", shown, err)
	}
	all := fmt.Sprint(shown)
	for _, value := range []string{"MTIz", "NDU2", "c2FtZQ==", "open-sesame"} {
		if strings.Contains(all, value) {
			t.Errorf("%s is shown: %s", value, all)
		}
	}
	if !strings.Contains(shown["Secret shop/s"], "***") || f.objects[settingsPath]["data"].(map[string]any)["a"] != "b" {
		t.Errorf("%q", shown)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("shop/configmap/settings.yaml", settings)
	write("shop/more.json", `{"kind": "List", "apiVersion": "v1", "items": [`+`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "uid": "x", "resourceVersion": "1"}, "type": "Opaque"}]}`)
	write("shop/.hidden.yaml", "a: [")
	write(".git/config.yaml", "a: [")
	write("README.md", "a: [")
	loaded, err := Load([]string{dir, "-"}, strings.NewReader(web), seal.Identities{})
	if err != nil || len(loaded.Objects) != 3 || len(loaded.Warnings) > 0 {
		t.Fatalf("%+v, %v", loaded, err)
	}
	if u := loaded.Objects[1]; u.GetUID() != "" || u.GetResourceVersion() != "" {
		t.Errorf("the server's own is there: %v", u.Object)
	}
	for name, c := range map[string]struct {
		text string
		says []string
		hint string
	}{
		"broken.yaml":        {"a: [", []string{"broken.yaml: document 1: it is neither YAML nor JSON"}, ""},
		"twice.yaml":         {settings, []string{"ConfigMap shop/settings is in ", "twice.yaml"}, ""},
		"secret.yaml.age":    {"not encrypted", []string{"secret.yaml.age: "}, "identity"},
		"kustomization.yaml": {"resources: [shop]", []string{"kustomization.yaml: document 1: it is no object of Kubernetes"}, "kubectl kustomize " + dir + " | refit import -"},
	} {
		file := write(name, c.text)
		_, err := Load([]string{dir}, nil, seal.Identities{})
		for _, says := range c.says {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := hint.Of(err); !strings.Contains(got, c.hint) {
			t.Errorf("%s: hint %q", name, got)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load([]string{filepath.Join(dir, "none")}, nil, seal.Identities{}); err == nil {
		t.Error("what is not there")
	}
	if _, err := Load([]string{t.TempDir()}, nil, seal.Identities{}); err == nil || !strings.Contains(err.Error(), "no object") {
		t.Errorf("nothing: %v", err)
	}
}

// A part of a tree that is not whole is not taken, and one of an export that lacks something says so.
func TestLoadPart(t *testing.T) {
	dir := t.TempDir()
	cut := &export.Cut{
		Objects: []export.Object{{Key: manifest.Key{Kind: "ConfigMap", Namespace: "shop", Name: "settings"}, Path: "shop/configmap/settings.yaml", Text: []byte(settings)}},
		Unread:  []export.Unread{{Resource: "things.example.com", Why: "away"}},
	}
	if _, err := export.Write(dir, cut, export.Options{}); err != nil {
		t.Fatal(err)
	}
	parts := []string{dir, filepath.Join(dir, "shop"), filepath.Join(dir, "shop", "configmap", "settings.yaml")}
	for _, path := range parts {
		loaded, err := Load([]string{path}, nil, seal.Identities{})
		if err != nil || len(loaded.Objects) != 1 || len(loaded.Warnings) != 1 || !strings.Contains(loaded.Warnings[0], "things.example.com") {
			t.Errorf("%s: %+v, %v", path, loaded, err)
		}
	}
	index := filepath.Join(dir, export.IndexName)
	whole, err := os.ReadFile(index)
	if err == nil {
		err = os.WriteFile(index, []byte(strings.Replace(string(whole), "state whole", "state unfinished", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range parts {
		if _, err := Load([]string{path}, nil, seal.Identities{}); err == nil || !strings.Contains(err.Error(), "interrupted") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
