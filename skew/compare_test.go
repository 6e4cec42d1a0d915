// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew_test

import (
	"encoding/json"
	"testing"

	"refit.dev/refit/skew"
)

// Each of these is older than the next.
func TestCompare(t *testing.T) {
	ages := []string{"1.36", "v1.36.1", "v1.36.10", "v1.37.0-alpha.0.3", "v1.37.0-alpha.0.12+0123", "v1.37.0-alpha.1", "v1.37.0-beta.0", "v1.37.0-rc.1", "v1.37.0-rc.10", "v1.37.0", "v1.37.2", "v1.38.0"}
	for i, a := range ages {
		for j, b := range ages {
			v, err := skew.Parse(a)
			if err != nil {
				t.Fatal(err)
			}
			w, err := skew.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Compare(w); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
	for a, b := range map[string]string{"1.37.2-1.1": "v1.37.2", "v1.37.2+k3s1": "1.37.2", "v1.37": "v1.37.0", "v1.37.2-gke.100": "v1.37.2-gke.99"} {
		v, _ := skew.Parse(a)
		w, _ := skew.Parse(b)
		if v.Compare(w) != 0 {
			t.Errorf("%s and %s are told apart", a, b)
		}
	}
}

func TestParseWorkerHops(t *testing.T) {
	for text, fine := range map[string]bool{"fewest": true, "each": true, "": false, "Each": false, "none": false} {
		if _, err := skew.ParseWorkerHops(text); (err == nil) != fine {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A version is text in JSON, and so is none.
func TestVersionAsText(t *testing.T) {
	for _, want := range []skew.Version{{}, {Minor: 37, Patch: 2}, skew.OfMinor(37), {Minor: 38, Suffix: "-rc.1"}} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got skew.Version
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Errorf("%+v was written as %s and read as %+v, %v", want, text, got, err)
		}
	}
	var v skew.Version
	if err := json.Unmarshal([]byte(`"2.0"`), &v); err == nil {
		t.Errorf("2.0 was read as %+v", v)
	}
}
