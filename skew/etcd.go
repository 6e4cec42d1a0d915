// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

import (
	"fmt"
	"regexp"
	"strconv"
)

// etcdPattern is a version of etcd; what follows its numbers does not matter here.
var etcdPattern = regexp.MustCompile(`^v?([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,6})(?:[-+~].*)?$`)

// etcdVersion is the major, minor and patch of a version of etcd.
func etcdVersion(text string) (v [3]int, known bool) {
	m := etcdPattern.FindStringSubmatch(text)
	if m == nil {
		return v, false
	}
	for i := range v {
		v[i], _ = strconv.Atoi(m[i+1]) // digits, and few
	}
	return v, true
}

// EtcdStep says why a member of etcd cannot be moved from one of its versions ("3.6.16") to
// another in one step: "is 3.5.35, and ..."; "" if it can. etcd goes up one minor at a time, as
// members of two minors talk to each other and the newer one changes what is stored
// (https://etcd.io/docs/latest/upgrades/); it does not start on what a newer minor has
// written. A version that cannot be read is a reason, too.
func EtcdStep(from, to string) (why string) {
	now, nowKnown := etcdVersion(from)
	next, nextKnown := etcdVersion(to)
	switch {
	case !nextKnown:
		return fmt.Sprintf("is %q, which is no version of etcd", to)
	case !nowKnown:
		return fmt.Sprintf("is %s, and whether etcd can go there is not known: what runs says that it is %q", to, from)
	case next[0] != now[0]:
		return fmt.Sprintf("is %s, and etcd %s does not go to another major version", to, from)
	case next[1] < now[1], next[1] == now[1] && next[2] < now[2]:
		return fmt.Sprintf("is %s, and etcd %s does not go back", to, from)
	case next[1] > now[1]+1:
		return fmt.Sprintf("is %s, and etcd %s goes one minor at a time: %d.%d comes first", to, from, now[0], now[1]+1)
	}
	return ""
}
