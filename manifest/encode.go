// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Encode returns an object as one YAML document: keys sorted, two spaces a level, lists as far in
// as their keys. The same object gives the same bytes.
func Encode(object map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(object); err != nil {
		return nil, fmt.Errorf("encode it as YAML: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("encode it as YAML: %w", err)
	}
	return b.Bytes(), nil
}
