// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"cmp"
	"strings"

	"refit.dev/refit/skew"
)

// upstream returns the version of Kubernetes in the version of a package, such as
// 1.37.2-1.1, 0:1.37.2-150500.1.1 or 1.38.0~rc.1-1.1: [epoch:]upstream-revision, in
// which ~ stands for the - before a stage (Debian Policy 5.6.12, RPM spec files).
func upstream(version string) (skew.Version, bool) {
	if epoch, rest, found := strings.Cut(version, ":"); found {
		if epoch == "" || strings.Trim(epoch, "0123456789") != "" {
			return skew.Version{}, false
		}
		version = rest
	}
	if dash := strings.LastIndexByte(version, '-'); dash >= 0 {
		version = version[:dash]
	}
	v, err := skew.Parse(strings.Replace(version, "~", "-", 1))
	if err != nil || v.Patch == skew.Unknown {
		return skew.Version{}, false
	}
	return v, true
}

// newer tells whether a is a newer release than b. Of one patch, a release is newer
// than its candidates; candidates are compared by their numbers.
func newer(a, b skew.Version) bool {
	return cmp.Or(
		cmp.Compare(a.Minor, b.Minor),
		cmp.Compare(a.Patch, b.Patch),
		compareStage(a, b),
	) > 0
}

func compareStage(a, b skew.Version) int {
	switch ap, bp := a.Prerelease(), b.Prerelease(); {
	case ap && bp:
		return compareRevisions(a.Suffix, b.Suffix)
	case ap:
		return -1
	case bp:
		return 1
	}
	return 0
}

// compareRevisions compares revisions as package managers do as long as no ~ or ^ is
// in them: runs of digits as numbers, all else as text.
func compareRevisions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a = run(a, false)
		y, b = run(b, false)
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
		x, a = run(a, true)
		y, b = run(b, true)
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
	}
	return 0
}

// run cuts the leading run of digits, or of all else, off text.
func run(text string, digits bool) (first, rest string) {
	end := strings.IndexFunc(text, func(c rune) bool { return ('0' <= c && c <= '9') != digits })
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}

// pick returns the offer of the package at exactly that version of Kubernetes; of
// several revisions the highest.
func pick(offers []Offer, name string, version skew.Version) (Offer, bool) {
	var best Offer
	found := false
	for _, o := range offers {
		if o.Name != name {
			continue
		}
		v, ok := upstream(o.Version)
		if !ok || v != version {
			continue
		}
		if !found || compareRevisions(o.Version, best.Version) > 0 {
			best, found = o, true
		}
	}
	return best, found
}

// nearest returns the versions of the package that are offered, newest first, at
// most n of them, for a message.
func nearest(offers []Offer, name string, n int) []string {
	var versions []string
	for _, o := range offers {
		if o.Name == name && len(versions) < n {
			versions = append(versions, o.Version)
		}
	}
	return versions
}
