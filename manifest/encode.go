// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Encode returns an object as one YAML document: keys sorted, two spaces a level, lists as far in
// as their keys. The same object gives the same bytes.
func Encode(object map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(readable(object)); err != nil {
		return nil, fmt.Errorf("encode it as YAML: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("encode it as YAML: %w", err)
	}
	return b.Bytes(), nil
}

// quoted is a text that stands in double quotes, whatever the encoder would choose.
type quoted string

func (q quoted) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: string(q)}, nil
}

// wantsQuotes tells whether what the encoder would write of a text means another thing to who reads it, or
// to who moves it: "<<" as a key is a merge; a block whose first line begins with a tab gets no indentation
// indicator, where no reader takes a tab for indentation; and in a block the encoder indents what follows
// the line ends of Unicode, which are none for who indents it further.
func wantsQuotes(s string) bool {
	return s == "<<" || strings.Contains(s, "\n") && (strings.HasPrefix(s, "\t") || strings.ContainsAny(s, "\u0085\u2028\u2029"))
}

// readable is v with the texts in quotes that want them. What has none is v itself, uncopied.
func readable(v any) any {
	switch v := v.(type) {
	case string:
		if wantsQuotes(v) {
			return quoted(v)
		}
	case []any:
		if !anyWantsQuotes(v) {
			return v
		}
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = readable(e)
		}
		return out
	case map[string]any:
		if !anyWantsQuotes(v) {
			return v
		}
		out := make(map[any]any, len(v))
		for k, e := range v {
			out[readable(k)] = readable(e)
		}
		return out
	}
	return v
}

// anyWantsQuotes tells whether a text somewhere in v, or a key, wants quotes.
func anyWantsQuotes(v any) bool {
	switch v := v.(type) {
	case string:
		return wantsQuotes(v)
	case []any:
		return slices.ContainsFunc(v, anyWantsQuotes)
	case map[string]any:
		for k, e := range v {
			if wantsQuotes(k) || anyWantsQuotes(e) {
				return true
			}
		}
	}
	return false
}
