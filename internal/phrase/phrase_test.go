// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package phrase

import "testing"

func TestPhrases(t *testing.T) {
	names := []string{"a", "b", "c"}
	for _, tt := range []struct{ got, want string }{
		{Count(0, "node"), "0 nodes"},
		{Count(1, "node"), "1 node"},
		{Count(2, "static pod"), "2 static pods"},
		{Plural(1, "is", "are"), "is"},
		{Plural(0, "is", "are"), "are"},
		{Few(nil, 2), ""},
		{Few(names[:2], 2), "a, b"},
		{Few(names, 2), "a, b and 1 more"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
