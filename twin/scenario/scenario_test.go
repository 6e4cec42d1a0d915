// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package scenario_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin/scenario"
)

func TestBuiltIn(t *testing.T) {
	if got := strings.Join(scenario.Names(), " "); got != "shop stuck" {
		t.Fatalf("names: %s", got)
	}
	for name, want := range map[string][2]int{"shop": {12, 3}, "stuck": {3, 1}} {
		s, err := scenario.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if s.Nodes != want[0] || s.Zones != want[1] || s.Name != name {
			t.Errorf("%s: %d nodes, %d zones", s.Name, s.Nodes, s.Zones)
		}
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}`
	for name, text := range map[string]string{
		"yaml":              "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n# nothing\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n",
		"json":              pod + "\n" + pod,
		"list":              "apiVersion: v1\nkind: List\nitems:\n- " + pod + "\n- " + pod + "\n",
		"windows line ends": "apiVersion: v1\r\nkind: Pod\r\nmetadata: {name: a}\r\n---\r\n" + pod + "\r\n",
	} {
		s, err := scenario.Load(write(name, text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := s.Objects(); len(got) != 2 || !strings.HasPrefix(got[0], "Pod ") {
			t.Errorf("%s: %v, want two pods", name, got)
		}
	}
}

func TestOrder(t *testing.T) {
	s, err := scenario.Parse("x", []byte(`
{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: c}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := "Namespace shop, CustomResourceDefinition c, PodDisruptionBudget b, Deployment d, Pod shop/p"
	if got := strings.Join(s.Objects(), ", "); got != want {
		t.Errorf("order: %s, want %s", got, want)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct{ text, says string }{
		{"", "holds no manifest"},
		{"---\n# nothing\n", "holds no manifest"},
		{"kind: Pod\n", "document 1: apiVersion is missing"},
		{"apiVersion: v1\nmetadata: {name: a}\n", "kind is missing"},
		{"{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n{apiVersion: v1, kind: Pod, metadata: {generateName: a}}\n", "document 2: Pod: metadata.name is missing"},
		{"{apiVersion: v1, kind: Pod, metadata: {name: n}}", "Pod: metadata.name is false, no text: quote it"},
		{"- a\n- b\n", "document 1: want an object"},
		{"apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: a}\n", `"kind" already set`},
		{"apiVersion: v1\n\tkind: Pod\n", "document 1"},
		{`{"apiVersion":`, "document 1"},
		{"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod}]}", "document 1: item 1: Pod: metadata.name is missing"},
		{"{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {twin.refit.dev/nodes: many}}}", `Namespace shop: annotation twin.refit.dev/nodes is "many"`},
	} {
		_, err := scenario.Parse("file.yaml", []byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.HasPrefix(err.Error(), "file.yaml") {
			t.Errorf("%q: %v; want file.yaml and %q", tc.text, err, tc.says)
		}
	}
	_, err := scenario.Load("shopp")
	if err == nil || !strings.Contains(hint.Of(err), "shop, stuck") {
		t.Errorf("a name with a mistake: %v, hint %q", err, hint.Of(err))
	}
}
