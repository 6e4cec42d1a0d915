// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Unknown is the Patch of a version that was given without one ("1.37").
const Unknown = -1

// Version is a version of Kubernetes, major 1. The zero value stands for no
// version at all; Parse never returns it without an error.
type Version struct {
	Minor int
	Patch int
	// Suffix is what follows, with its first character: "-rc.1", "-gke.100",
	// "+k3s1", "-1.1" (a package's revision) or "+" (how /version marks a minor
	// that has more in it than the release).
	Suffix string
}

// The numbers are bounded so that sums of them cannot overflow; the suffix takes
// what semantic versions, Debian and RPM put there.
var versionPattern = regexp.MustCompile(`^v?1\.(0|[1-9][0-9]{0,3})(?:\.(0|[1-9][0-9]{0,5}))?((?:[-+~][0-9A-Za-z.+~_-]*)?)$`)

// Parse reads v1.37.2, 1.37.2, 1.37, 1.37+, v1.38.0-rc.1, v1.37.2-gke.100,
// v1.37.2+k3s1 and 1.37.2-1.1 (a package's version). Space around it is an
// error, as is any major version other than 1.
func Parse(text string) (Version, error) {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return Version{}, fmt.Errorf("version %q: want a version of Kubernetes such as v1.37.2 or 1.37", text)
	}
	v := Version{Patch: Unknown, Suffix: m[3]}
	var err error
	if v.Minor, err = strconv.Atoi(m[1]); err != nil {
		return Version{}, fmt.Errorf("version %q: minor: %w", text, err)
	}
	if m[2] != "" {
		if v.Patch, err = strconv.Atoi(m[2]); err != nil {
			return Version{}, fmt.Errorf("version %q: patch: %w", text, err)
		}
	}
	if v.IsZero() { // v1.0.0 would look like no version; nothing of that age is alive
		return Version{}, fmt.Errorf("version %q: too old to be known", text)
	}
	return v, nil
}

// ParseImage reads the version from the tag of a component's image, such as
// registry.k8s.io/kube-proxy:v1.37.2, with or without a digest behind it.
func ParseImage(image string) (Version, error) {
	tagged, _, _ := strings.Cut(image, "@")
	colon := strings.LastIndexByte(tagged, ':')
	if colon < strings.LastIndexByte(tagged, '/') || colon < 0 { // the colon of a port, or none
		return Version{}, fmt.Errorf("image %q has no tag to tell its version", image)
	}
	v, err := Parse(tagged[colon+1:])
	if err != nil {
		return Version{}, fmt.Errorf("image %q: %w", image, err)
	}
	return v, nil
}

// IsZero reports whether v stands for no version.
func (v Version) IsZero() bool { return v == Version{} }

// String returns the form with a leading v, which Parse takes back: v1.37.2-gke.100, v1.37.
func (v Version) String() string {
	if v.Patch == Unknown {
		return fmt.Sprintf("v1.%d%s", v.Minor, v.Suffix)
	}
	return fmt.Sprintf("v1.%d.%d%s", v.Minor, v.Patch, v.Suffix)
}

// MarshalText writes String's form, and nothing for the zero value.
func (v Version) MarshalText() ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	return []byte(v.String()), nil
}

// UnmarshalText takes what Parse takes, and nothing for the zero value.
func (v *Version) UnmarshalText(text []byte) (err error) {
	*v = Version{}
	if len(text) > 0 {
		*v, err = Parse(string(text))
	}
	return err
}

// Prerelease reports whether v is an alpha, beta or release candidate, which
// comes before the minor that it names has been released.
func (v Version) Prerelease() bool {
	for _, stage := range []string{"-alpha", "-beta", "-rc"} {
		if strings.HasPrefix(v.Suffix, stage) {
			return true
		}
	}
	return false
}
