// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

import "fmt"

// Message says what is the case, which rule forbids it and what would be allowed:
//
//	kubelet v1.38.0 on node-3 is 1 minor newer than kube-apiserver v1.37.2 on cp-1: kubelet must not be ...; allowed: 1.34 to 1.37
func (v Violation) Message() string {
	subject := v.Instance.describe(v.Component)
	if v.Rule == RuleSupported {
		return fmt.Sprintf("%s is of a minor that gets no fixes any more: supported are %s", subject, v.Allowed)
	}
	distance, direction := v.Instance.minor()-v.PeerInstance.minor(), "newer"
	if distance < 0 {
		distance, direction = -distance, "older"
	}
	unit := "minors"
	if distance == 1 {
		unit = "minor"
	}
	allowed := v.Allowed.String()
	if v.Allowed.Empty() {
		allowed = "none, because those instances are too far apart themselves"
	}
	return fmt.Sprintf("%s is %d %s %s than %s: %s %s; allowed: %s", subject, distance, unit, direction,
		v.PeerInstance.describe(v.Peer), v.Component, v.statement, allowed)
}

// String returns "1.35 to 1.37", "1.37" or "none".
func (r Range) String() string {
	switch {
	case r.Empty():
		return "none"
	case r.Oldest == r.Newest:
		return fmt.Sprintf("1.%d", r.Oldest)
	}
	return fmt.Sprintf("1.%d to 1.%d", r.Oldest, r.Newest)
}
