// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	text := `# kubectl's own output
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: x}, data: {k: "---"}}
- apiVersion: v1
  kind: ConfigMapList
  metadata: {resourceVersion: "1"}
  items:
  - metadata: {name: b, namespace: x}
--- # and another tool's
{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "c"}}
---
# nothing
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: d}
items: [1, 2]
---
{apiVersion: example.com/v1, kind: AllowList, metadata: {name: i}, items: [{ip: 192.0.2.1}]}
...
{apiVersion: v1, kind: ConfigMap, metadata: {name: e}, data: {k: v}}
---
{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "f"}, "data": {"k": "\ud83d\ude00"}}
{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "g"}}{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "h"}} # the end
`
	objects, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range objects {
		got = append(got, KeyOf(u).String())
	}
	if want := "ConfigMap x/a|ConfigMap x/b|Deployment.apps c|Thing.example.com d|AllowList.example.com i|ConfigMap e|ConfigMap f|ConfigMap g|ConfigMap h"; strings.Join(got, "|") != want {
		t.Errorf("%s, want %s", strings.Join(got, "|"), want)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"a: [":                                 "neither YAML nor JSON",
		"just words":                           "no object of Kubernetes",
		"kind: ConfigMap\nmetadata: {name: a}": "apiVersion and kind",
		"apiVersion: v1\nkind: ConfigMap":      "no metadata",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: x}":                                          "no metadata.name",
		"apiVersion: v1\nkind: Pod\nmetadata: {generateName: x-}":                                            "another one",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ../x}":                                            "may not contain '/'",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ..}":                                              "may not be '..'",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 12}":                                              "quote it",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {pin: 123456}":                       "stringData.pin that is no text",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: [secret]":                                  "data that is no map",
		"apiVersion: a/b/c\nkind: ConfigMap\nmetadata: {name: x}":                                            "want VERSION or GROUP/VERSION",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b, a: c}":                           "already set in map",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\nx: 1":                                    "document 2: ",
		`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b", "a": "c"}}`: `duplicate field "data.a"`,
		`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}} {"kind": "ConfigMap"`:          "document 2: it is neither YAML nor JSON",
		`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}} and more`:                      "document 2: ",
		`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}} }`:                             "document 2: ",
		"apiVersion: v1\nkind: List\nitems: [7]":                                                             "element 1 of the List",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, ownerReferences: [7]}":                         "owner reference",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

// FuzzParse: whatever the text, there is no panic, and what is an object has a name that is one.
func FuzzParse(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n{}"))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: null}]"))
	f.Add([]byte("apiVersion: v1\nkind: PodList\nmetadata: {}\nitems: [{metadata: {name: x, ownerReferences: [{uid: 1}]}}]"))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","uid":"1","managedFields":[{"fieldsV1":{"f:spec":7}}],"finalizers":[1]},"spec":{"ports":[{"nodePort":1},2]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, err := Parse(text)
		if err != nil {
			return
		}
		for _, u := range objects {
			if u.GetName() == "" || strings.ContainsAny(u.GetName(), "/%") || u.GetKind() == "" || u.GetAPIVersion() == "" {
				t.Fatalf("%q is read as %v", text, u.Object)
			}
			_ = LeaveOut(u)
			Clean(u)
		}
		_, _ = Stages(objects)
	})
}
