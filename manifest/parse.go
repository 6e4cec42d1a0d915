// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Parse reads the objects of a text: YAML with any number of documents, or JSON values one after the other; lists of any
// kind are taken apart, lists in lists as well. A document without content is none. What is no object of Kubernetes, has a field twice, or
// a name that the API server could not serve is an error that says which document it is.
func Parse(text []byte) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	n := 0
	for _, document := range split(text) {
		for _, value := range values(document) {
			n++
			objects, err := parseDocument(value)
			if err != nil {
				return nil, fmt.Errorf("document %d: %w", n, err)
			}
			all = append(all, objects...)
		}
	}
	return all, nil
}

// split takes a text apart at the lines that begin or end a document of YAML: the library reads the first one
// and no further.
func split(text []byte) [][]byte {
	var all [][]byte
	begin, at := 0, 0
	for line := range bytes.Lines(text) {
		rest, marker := bytes.CutPrefix(line, []byte("---"))
		if !marker {
			rest, marker = bytes.CutPrefix(line, []byte("..."))
		}
		if marker && (len(bytes.TrimSpace(rest)) == 0 || rest[0] == ' ' || rest[0] == '\t') {
			all = append(all, text[begin:at])
			begin = at + len("---")
		}
		at += len(line)
	}
	return append(all, text[begin:])
}

// values takes a document apart that is one value of JSON after the other, as kubectl get -o json writes them when it is run
// several times. What is not of that kind stays whole.
func values(document []byte) [][]byte {
	var all [][]byte
	if !bytes.HasPrefix(bytes.TrimSpace(document), []byte("{")) {
		return [][]byte{document}
	}
	d := stdjson.NewDecoder(bytes.NewReader(document))
	for d.More() {
		var value stdjson.RawMessage
		if d.Decode(&value) != nil {
			break // in YAML braces mean the same; what follows a value, and is none, is for its reader to refuse
		}
		all = append(all, value)
	}
	if rest := document[d.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		all = append(all, rest)
	}
	return all
}

func parseDocument(text []byte) ([]*unstructured.Unstructured, error) {
	if !stdjson.Valid(text) { // YAML takes most of JSON, but not its pairs of surrogates
		var err error
		if text, err = yaml.YAMLToJSONStrict(text); err != nil {
			return nil, fmt.Errorf("it is neither YAML nor JSON: %w", err)
		}
	}
	if bytes.Equal(bytes.TrimSpace(text), []byte("null")) {
		return nil, nil
	}
	var object map[string]any
	twice, err := json.UnmarshalStrict(text, &object, json.DisallowDuplicateFields)
	if err = errors.Join(append([]error{err}, twice...)...); err != nil {
		return nil, fmt.Errorf("it is no object of Kubernetes: %w", err)
	}
	return flatten(&unstructured.Unstructured{Object: object}, 0)
}

// listDepth is how many lists may be in one another.
const listDepth = 5

// flatten takes lists apart.
func flatten(u *unstructured.Unstructured, depth int) ([]*unstructured.Unstructured, error) {
	apiVersion, _ := u.Object["apiVersion"].(string)
	kind, _ := u.Object["kind"].(string)
	items, list := u.Object["items"].([]any)
	if !list && strings.HasSuffix(kind, "List") && u.Object["metadata"] != nil && u.Object["items"] == nil && u.GetName() == "" {
		list = true // a list of nothing
	}
	if !list || !strings.HasSuffix(kind, "List") || u.GetName() != "" { // a custom resource may be called AllowList; no list has a name
		return []*unstructured.Unstructured{u}, check(u, apiVersion, kind)
	}
	if depth == listDepth {
		return nil, fmt.Errorf("more than %d lists are in one another", listDepth)
	}
	var all []*unstructured.Unstructured
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("element %d of the %s is no object", i+1, kind)
		}
		inner := &unstructured.Unstructured{Object: object}
		// Elements of a list of one kind need not say what they are.
		if of := strings.TrimSuffix(kind, "List"); object["kind"] == nil && object["apiVersion"] == nil && of != "" {
			inner.SetAPIVersion(apiVersion)
			inner.SetKind(of)
		}
		objects, err := flatten(inner, depth+1)
		if err != nil {
			return nil, fmt.Errorf("element %d of the %s: %w", i+1, kind, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}

// check refuses what no API server could take.
func check(u *unstructured.Unstructured, apiVersion, kind string) error {
	switch {
	case kind == "" || apiVersion == "":
		return errors.New("it is no object of Kubernetes: apiVersion and kind are not both given")
	case strings.Count(apiVersion, "/") > 1 || strings.HasPrefix(apiVersion, "/") || strings.HasSuffix(apiVersion, "/"):
		return fmt.Errorf("%s has apiVersion %q: want VERSION or GROUP/VERSION", kind, apiVersion)
	}
	metadata, ok := u.Object["metadata"].(map[string]any)
	if !ok {
		return fmt.Errorf("a %s has no metadata", kind)
	}
	for _, field := range []string{"name", "namespace", "generateName"} {
		if v, there := metadata[field]; there {
			if _, text := v.(string); !text && v != nil {
				return fmt.Errorf("a %s has metadata.%s %v, which is no text: quote it", kind, field, v)
			}
		}
	}
	name := u.GetName()
	if name == "" && u.GetGenerateName() != "" {
		return fmt.Errorf("a %s has metadata.generateName and no name: each import would make another one", kind)
	}
	if name == "" {
		return fmt.Errorf("a %s has no metadata.name", kind)
	}
	for _, segment := range []string{name, u.GetNamespace()} {
		if wrong := content.IsPathSegmentName(segment); len(wrong) > 0 {
			return fmt.Errorf("a %s is called %q: %s", kind, segment, strings.Join(wrong, "; "))
		}
	}
	if kind == "Secret" && apiVersion == "v1" {
		if err := checkValues(u, name); err != nil {
			return err
		}
	}
	for _, o := range ownerEntries(metadata) {
		if _, ok := o.(map[string]any); !ok {
			return fmt.Errorf("%s %s has an owner reference that is none", kind, name)
		}
	}
	return nil
}

// checkValues refuses a Secret with values that are no text without saying them: the API server would
// put them into its answer (structured-merge-diff, typed/validate.go).
func checkValues(u *unstructured.Unstructured, name string) error {
	for _, field := range []string{"data", "stringData"} {
		values, ok := u.Object[field].(map[string]any)
		if !ok && u.Object[field] != nil {
			return fmt.Errorf("a Secret (%s) has a %s that is no map", name, field)
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if _, text := values[key].(string); !text && values[key] != nil {
				return fmt.Errorf("a Secret (%s) has a value of %s.%s that is no text: quote it", name, field, key)
			}
		}
	}
	return nil
}

func ownerEntries(metadata map[string]any) []any {
	all, _ := metadata["ownerReferences"].([]any)
	return all
}
