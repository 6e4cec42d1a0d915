// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"

	"sigs.k8s.io/yaml"
)

// WriteData writes v as one document, format "json" or "yaml", by its JSON tags.
// Whatever texts are in it: what a terminal would obey is written as an escape of
// the format, which stands for the same text. Errors are those of encoding and of w.
func WriteData(w io.Writer, format string, v any) error {
	var text []byte
	var err error
	if format == "yaml" {
		text, err = encodeYAML(v)
	} else {
		text, err = encodeJSON(v, "  ")
	}
	if err != nil {
		return fmt.Errorf("encode %T as %s: %w", v, format, err)
	}
	_, err = w.Write(text)
	return err
}

// encodeJSON ends in a line feed. Without an indent all is one line.
func encodeJSON(v any, indent string) ([]byte, error) {
	text, err := marshal(v, indent)
	return escapeJSON(text, func(r rune) string {
		high, low := utf16.EncodeRune(r)
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}), err
}

// encodeYAML goes by JSON, as Kubernetes does. The YAML library refuses control
// characters in it unless they are escaped, and no half of a pair is a character to it.
func encodeYAML(v any) ([]byte, error) {
	text, err := marshal(v, "")
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(escapeJSON(text, func(r rune) string { return fmt.Sprintf(`\U%08x`, r) }))
}

func marshal(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	err := encoder.Encode(v)
	return b.Bytes(), err
}

// escapeJSON escapes, in JSON, what encoding/json lets pass and a terminal would
// obey: C1 controls, marks that reorder text. The value stays the same. beyond
// escapes what four digits cannot say.
func escapeJSON(text []byte, beyond func(rune) string) []byte {
	if !bytes.ContainsFunc(text, obeyed) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !obeyed(r):
			b.WriteRune(r)
		case r > 0xffff:
			b.WriteString(beyond(r))
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

func obeyed(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
