// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"

	"refit.dev/refit/event"
)

// writeJSON writes e as one line.
func writeJSON(w io.Writer, e event.Event) error {
	line, err := encodeJSON(e, "")
	if err != nil {
		return fmt.Errorf("encode a %s event: %w", e.Type, err)
	}
	_, err = w.Write(line)
	return err
}

// writeYAML writes e as one document of a stream of them.
func writeYAML(w io.Writer, e event.Event) error {
	document, err := encodeYAML(e)
	if err != nil {
		return fmt.Errorf("encode a %s event: %w", e.Type, err)
	}
	_, err = w.Write(append([]byte("---\n"), document...))
	return err
}
