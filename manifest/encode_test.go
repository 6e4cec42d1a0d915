// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/util/json"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// encodeHolds: what is written is read back as the same by the library that kubectl and the API server read YAML with.
func encodeHolds(t interface{ Fatalf(string, ...any) }, object map[string]any) {
	text, err := Encode(object)
	if err != nil {
		t.Fatalf("%v: %v", object, err)
	}
	again, err := Encode(object)
	if err != nil || !bytes.Equal(text, again) {
		t.Fatalf("%v is encoded as\n%s, and then as\n%s", object, text, again)
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		t.Fatalf("%v is encoded as\n%s: %v", object, text, err)
	}
	var back map[string]any
	if err := json.Unmarshal(asJSON, &back); err != nil || !reflect.DeepEqual(back, object) {
		t.Fatalf("%#v is encoded as\n%s, which is %#v", object, text, back)
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "yes", "on", "y", "null", "~", "1", "0x1", "1e3", "0o7", "08", "1_000", "12:30:45", "2001-01-01", "2001-01-01T00:00:00Z",
		" a", "a ", "a\nb", "a\n", "\n", "\ta", "\ta\nb", "\t\n", "\n\ta\n", "#a", "a: b", "- a", "!x", "&a", "*a", "%", "@", "`", "'", "\"", "\u2028", "\u0085", "\x00", "\x7f", "\u200b",
		".inf", "-.INF", ".nan", "<<", "=", "---", "...", "a\r\nb", "\ufeffa", "😀", "0b1", "+1", "1.", ".5", "NO", "off", "|", ">-", "true", "a #b", "[", "{"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		// What comes from an API server has been JSON: it is valid UTF-8.
		text, err := json.Marshal(map[string]any{"k" + key: value, "list": []any{value, key}, "inner": map[string]any{"x": value}})
		if err != nil {
			return
		}
		var object map[string]any
		if json.Unmarshal(text, &object) != nil {
			return
		}
		encodeHolds(t, object)
	})
}

func TestEncodeAnything(t *testing.T) {
	// What blocks, quotes and tabs are made of comes often: most of what can go wrong is there.
	text := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.SampledFrom([]rune("\t\n\r\u0085\u2028\u2029 a-:#'\"|")), 0, 8, -1))
	scalar := rapid.OneOf(text.AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
		rapid.Float64Range(-1e300, 1e300).Filter(func(f float64) bool { return f != float64(int64(f)) }).AsAny())
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(scalar,
			rapid.Map(rapid.SliceOfN(scalar, 0, 4), func(s []any) any { return s }),
			rapid.Map(rapid.MapOfN(text, scalar, 0, 4), func(m map[string]any) any { return m }))
		encodeHolds(t, rapid.MapOfN(text, value, 0, 5).Draw(t, "object"))
	})
}
