// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

import (
	"cmp"
	"regexp"
	"strconv"
)

// stagePattern is how Kubernetes names what comes before a release.
var stagePattern = regexp.MustCompile(`^-(alpha|beta|rc)\.([0-9]{1,9})(?:\.([0-9]{1,9}))?`)

// Compare returns a negative number if v is older than w, a positive one if it
// is newer, and 0 if neither can be told. A version without a patch is as old as
// the first of its minor, and a pre-release is older than its release, as in
// semantic versions. What vendors and packagers put behind does not count.
func (v Version) Compare(w Version) int {
	return cmp.Or(
		cmp.Compare(v.Minor, w.Minor),
		cmp.Compare(max(v.Patch, 0), max(w.Patch, 0)),
		cmp.Compare(v.stage(), w.stage()),
		cmp.Compare(v.stageNumber(2), w.stageNumber(2)),
		cmp.Compare(v.stageNumber(3), w.stageNumber(3)),
	)
}

// released is the stage of what is none any more.
const released = 3

func (v Version) stage() int {
	m := stagePattern.FindStringSubmatch(v.Suffix)
	if m == nil {
		return released
	}
	return map[string]int{"alpha": 0, "beta": 1, "rc": 2}[m[1]]
}

func (v Version) stageNumber(group int) int {
	m := stagePattern.FindStringSubmatch(v.Suffix)
	if len(m) <= group || m[group] == "" {
		return 0
	}
	n, _ := strconv.Atoi(m[group]) // the pattern has nothing but digits, few of them
	return n
}

// OfMinor returns the version that names a minor and no patch: v1.37.
func OfMinor(minor int) Version { return Version{Minor: minor, Patch: Unknown} }
