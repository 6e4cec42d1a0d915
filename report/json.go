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

	"refit.dev/refit/event"
)

// writeJSON writes e as one line.
func writeJSON(w io.Writer, e event.Event) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return fmt.Errorf("encode a %s event: %w", e.Type, err)
	}
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// escapeJSON escapes, in a line of JSON, what encoding/json lets pass and a
// terminal would obey: C1 controls, marks that reorder text. The value stays the same.
func escapeJSON(line []byte) []byte {
	if !bytes.ContainsFunc(line, obeyed) {
		return line
	}
	var b bytes.Buffer
	for _, r := range string(line) {
		switch {
		case !obeyed(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

func obeyed(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// writeYAML writes e as one document of a stream of them.
func writeYAML(w io.Writer, e event.Event) error {
	document, err := yaml.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode a %s event: %w", e.Type, err)
	}
	_, err = w.Write(append([]byte("---\n"), document...))
	return err
}
