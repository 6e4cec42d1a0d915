// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"refit.dev/refit/manifest"
)

// Whatever is in an object, it is in the list as it is by itself: moving it further in changes no text.
func TestListOfAnything(t *testing.T) {
	value := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.SampledFrom([]rune("\t\n\r\u0085\u2028\u2029 a-:#'\"|")), 0, 12, -1))
	rapid.Check(t, func(t *rapid.T) {
		object := map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"},
			"data": rapid.MapOfN(value, value.AsAny(), 0, 4).Draw(t, "data"),
		}
		text, err := manifest.Encode(object)
		if err != nil {
			t.Fatal(err)
		}
		cut := &Cut{Objects: []Object{{Text: text}, {Text: text}}}
		objects, err := manifest.Parse(List(cut))
		if err != nil || len(objects) != 2 {
			t.Fatalf("%d objects, %v:\n%s", len(objects), err, List(cut))
		}
		for _, u := range objects {
			if !reflect.DeepEqual(u.Object, object) {
				t.Fatalf("%v is in the list as %v:\n%s", object, u.Object, List(cut))
			}
		}
	})
}
