// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refit.dev/refit/skew"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]skew.Version{
		"v1.37.2":         {Minor: 37, Patch: 2},
		"1.37.2":          {Minor: 37, Patch: 2},
		"1.37":            {Minor: 37, Patch: skew.Unknown},
		"v1.37":           {Minor: 37, Patch: skew.Unknown},
		"1.37+":           {Minor: 37, Patch: skew.Unknown, Suffix: "+"},
		"1.37.2-1.1":      {Minor: 37, Patch: 2, Suffix: "-1.1"},
		"v1.37.2-gke.100": {Minor: 37, Patch: 2, Suffix: "-gke.100"},
		"v1.37.0-rc.1":    {Minor: 37, Patch: 0, Suffix: "-rc.1"},
		"v1.37.2+k3s1":    {Minor: 37, Patch: 2, Suffix: "+k3s1"},
		"1.37.0~rc.1-0":   {Minor: 37, Patch: 0, Suffix: "~rc.1-0"},
		"v1.37.3-eks-a1b": {Minor: 37, Patch: 3, Suffix: "-eks-a1b"},
		"v1.37.0-alpha.0.12+0123456789abcd": {
			Minor: 37, Patch: 0, Suffix: "-alpha.0.12+0123456789abcd"},
	} {
		got, err := skew.Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "v", "1", "v1", "1.", "1.37.", "1.x", "1.37.x", "2.0.0", "0.37.2", "11.3.0", "v1.037.2", "1.37.02",
		"1:1.37.2", " v1.37.2", "v1.37.2\n", "v1.37.2 ", "V1.37.2", "vv1.37.2", "1.37.2.1", "-1.37.2", "1.-37.2",
		"1.37.2-\x1b[31m", "1.99999.0", "1.37.9999999999999999999999", "latest", "v1.0.0", "1,37", "1.37.2_1",
	} {
		if got, err := skew.Parse(text); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", text, got)
		} else if !strings.Contains(err.Error(), "version ") {
			t.Errorf("Parse(%q): the error does not say what it is about: %v", text, err)
		}
	}
}

func TestParseImage(t *testing.T) {
	for image, want := range map[string]string{
		"registry.k8s.io/kube-apiserver:v1.37.2":                      "v1.37.2",
		"localhost:5000/kube-proxy:v1.36.3":                           "v1.36.3",
		"kube-proxy:1.36":                                             "v1.36",
		"registry.k8s.io/kube-scheduler:v1.37.2@sha256:0123456789abc": "v1.37.2",
	} {
		if got, err := skew.ParseImage(image); err != nil || got.String() != want {
			t.Errorf("ParseImage(%q) = %v, %v; want %s", image, got, err, want)
		}
	}
	for _, image := range []string{"", ":", "kube-proxy", "localhost:5000/kube-proxy", "a/b@sha256:012", "kube-proxy:latest", "kube-proxy:"} {
		if got, err := skew.ParseImage(image); err == nil {
			t.Errorf("ParseImage(%q) = %v, want an error", image, got)
		}
	}
}

func TestPrerelease(t *testing.T) {
	for text, want := range map[string]bool{
		"v1.38.0-alpha.1": true, "v1.38.0-beta.0": true, "v1.38.0-rc.1": true,
		"v1.38.0": false, "1.38": false, "1.38.0-1.1": false, "v1.38.0-gke.1": false, "v1.38.0+k3s1": false,
	} {
		v, err := skew.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if v.Prerelease() != want {
			t.Errorf("%s: Prerelease() = %v", text, !want)
		}
	}
}

// What String writes, Parse reads back as the same value.
func TestFormatThenParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := skew.Version{
			Minor:  rapid.IntRange(1, 9999).Draw(t, "minor"),
			Patch:  rapid.IntRange(skew.Unknown, 999999).Draw(t, "patch"),
			Suffix: rapid.StringMatching(`([-+~][0-9A-Za-z.+~_-]{0,20})?`).Draw(t, "suffix"),
		}
		got, err := skew.Parse(v.String())
		if err != nil {
			t.Fatal(err)
		}
		if got != v {
			t.Fatalf("%+v was written as %s and read as %+v", v, v, got)
		}
	})
}

// Whatever the text, Parse does not panic, and what it takes it takes whole:
// nothing of the text is lost but the leading v.
func TestParseThenFormat(t *testing.T) {
	anything := rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`v?[012]?\.?[0-9]{0,5}\.?[0-9]{0,8}[-+~. ]?[0-9A-Za-z.+~_-]{0,5}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		text := anything.Draw(t, "text")
		v, err := skew.Parse(text)
		if err != nil {
			if !v.IsZero() {
				t.Fatalf("Parse(%q) returned %+v with %v", text, v, err)
			}
			return
		}
		if want := "v" + strings.TrimPrefix(text, "v"); v.String() != want {
			t.Fatalf("Parse(%q) is written as %s", text, v)
		}
		if v.IsZero() {
			t.Fatalf("Parse(%q) returned no version and no error", text)
		}
	})
}
