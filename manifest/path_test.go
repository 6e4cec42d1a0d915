// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPath(t *testing.T) {
	for _, c := range []struct{ namespace, group, kind, name, want string }{
		{"shop", "apps", "Deployment", "web", "shop/deployment.apps/web.yaml"},
		{"", "", "Namespace", "shop", "_cluster/namespace/shop.yaml"},
		{"", "rbac.authorization.k8s.io", "ClusterRole", "system:node", "_cluster/clusterrole.rbac.authorization.k8s.io/system%3anode.yaml"},
		{"con", "", "ConfigMap", "nul.x", "%63on/configmap/%6eul.x.yaml"},
		{"a", "", "ConfigMap", "..", "a/configmap/%2e%2e.yaml"},
		{"a", "", "ConfigMap", "../../etc/passwd", "a/configmap/%2e.%2f..%2fetc%2fpasswd.yaml"},
		{"", "x.io", "Foo", "Admin", "_cluster/foo.x.io/%41dmin.yaml"},
		{"", "x.io", "Foo", "admin", "_cluster/foo.x.io/admin.yaml"},
	} {
		if got := Path(c.namespace, c.group, c.kind, c.name); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// escapeHolds says of one name what EscapeName promises of all.
func escapeHolds(t interface{ Fatalf(string, ...any) }, name string) {
	escaped := EscapeName(name)
	back, err := UnescapeName(escaped)
	if err != nil || back != name {
		t.Fatalf("%q is escaped as %q, and that is %q, %v", name, escaped, back, err)
	}
	if strings.ToLower(escaped) != escaped || path.Clean(escaped) != escaped || path.IsAbs(escaped) {
		t.Fatalf("%q is escaped as %q", name, escaped)
	}
	for part := range strings.SplitSeq(escaped, "/") {
		if len(part) > segmentLimit+1 || part == "" || part[0] == '.' || strings.ContainsFunc(part, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.%", r) }) {
			t.Fatalf("%q is escaped as %q: part %q", name, escaped, part)
		}
	}
}

func FuzzEscapeName(f *testing.F) {
	for _, name := range []string{"", ".", "..", "web", "system:node", "Con", "con.a", "a/b", "%41", strings.Repeat("x", 253), strings.Repeat("Ü.", 120), "a.", "a%/b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) { escapeHolds(t, name) })
}

// FuzzUnescapeName: what is read as an escaped name is the one way to write it.
func FuzzUnescapeName(f *testing.F) {
	for _, text := range []string{"%", "%41", "%4", "%zz", "a%/b", ".", "%61", "%2E", "A"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if name, err := UnescapeName(text); err == nil && EscapeName(name) != text {
			t.Fatalf("%q is read as %q, which is written %q", text, name, EscapeName(name))
		}
	})
}

// TestSplitPath: a path tells what it was made of, and no other text is one.
func TestSplitPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := func(what string, most int) string {
			return rapid.StringOfN(rapid.RuneFrom([]rune("ab0-.:A%/")), 1, most, -1).Draw(t, what)
		}
		namespace := rapid.SampledFrom([]string{"", "shop", "con", "a-0"}).Draw(t, "namespace")
		group, kind, name := part("group", 300), part("kind", 20), part("name", 600)
		file := Path(namespace, group, kind, name)
		ns, k, n, err := SplitPath(file)
		if err != nil || ns != namespace || n != name || EscapeName(k) != KindDir(group, kind) {
			t.Fatalf("%q: %q, %q, %q, %v", file, ns, k, n, err)
		}
	})
	for _, text := range []string{"", "a.yaml", "shop/a.yaml", "shop/configmap/a", "shop//a.yaml", "/configmap/a.yaml", "../configmap/a.yaml", "shop/../a.yaml", "shop/configmap/A.yaml", "-/configmap/a.yaml", "shop/configmap/.yaml", "shop/%/%.yaml"} {
		if ns, kind, name, err := SplitPath(text); err == nil {
			t.Errorf("%q is %q, %q, %q", text, ns, kind, name)
		}
	}
}

func TestNoTwoNamesBecomeOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringOfN(rapid.RuneFrom([]rune("aA.%/:-1ü")), 1, 5, -1), 2, 2, rapid.ID).Draw(t, "names")
		paths := []string{EscapeName(names[0]), EscapeName(names[1])}
		if strings.EqualFold(paths[0], paths[1]) || slices.Contains(paths, "") {
			t.Fatalf("%q become %q", names, paths)
		}
		// Nor is a file of one a directory of the other.
		if strings.HasPrefix(paths[0]+extension, paths[1]+extension+"/") {
			t.Fatalf("%q become %q", names, paths)
		}
	})
}
