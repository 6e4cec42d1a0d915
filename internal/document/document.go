// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package document reads the documents that refit has written for people to keep, to
// approve and to give back: one object of a kind and a version, in YAML or JSON.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// limit is how many bytes of a document are read: a plan of 5,000 nodes and 150,000
// pods takes a fifth of it.
const limit = 128 << 20

// Document is a value that a document is read into.
type Document interface {
	// Type is what it says it is, once it was read.
	Type() metav1.TypeMeta
}

// Read reads one document of that version and kind into a value, strictly: fields that
// it does not have are an error. The error says what the text is instead; it does not
// name where the text came from.
func Read(r io.Reader, version, kind string, into Document) error {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the plan: %w", err)
	case len(text) > limit:
		return fmt.Errorf("it has more than %d MiB: that is no plan", limit>>20)
	case len(bytes.TrimSpace(text)) == 0:
		return errors.New("it is empty")
	}
	damage := yaml.UnmarshalStrict(text, into) // it may be large: it is parsed once if it is what it should be
	found := into.Type()
	if damage != nil { // or it is something else
		var whole any
		if err := yaml.Unmarshal(text, &whole); err != nil {
			return fmt.Errorf("it is neither YAML nor JSON: %w", err)
		}
		fields, ok := whole.(map[string]any)
		if !ok {
			return fmt.Errorf("it is no plan: it has no fields apiVersion and kind")
		}
		found = metav1.TypeMeta{}
		found.Kind, _ = fields["kind"].(string)
		found.APIVersion, _ = fields["apiVersion"].(string)
	}
	if found.Kind != kind {
		return fmt.Errorf("it is no plan: its kind is %q, not %s", found.Kind, kind)
	}
	if found.APIVersion != version {
		return fmt.Errorf("it is a plan of version %q; this refit knows %s", found.APIVersion, version)
	}
	if count(text) > 1 { // all but the first would be left out without a word
		return errors.New("it holds more than one YAML document: a plan is one")
	}
	if damage != nil {
		return fmt.Errorf("it is damaged: %w", damage)
	}
	return nil
}

// count counts the YAML documents that hold more than comments and directives.
func count(text []byte) int {
	documents, begun := 0, false
	for line := range bytes.Lines(text) {
		if rest, marker := bytes.CutPrefix(line, []byte("---")); marker && (len(bytes.TrimSpace(rest)) == 0 || rest[0] == ' ' || rest[0] == '\t') {
			line, begun = rest, false
		}
		if string(bytes.TrimRight(line, " \t\r\n")) == "..." {
			begun = false
			continue
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == '%' {
			continue
		}
		if !begun {
			documents, begun = documents+1, true
		}
	}
	return documents
}
