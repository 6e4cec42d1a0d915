// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package skew knows which versions of the components of a cluster may run
// together: the policy of https://kubernetes.io/releases/version-skew-policy/.
//
// It is pure. What was found running goes in as Components, what the policy
// does not allow comes out as Violations, each with the exact bounds and a
// sentence for people. FindPath says how a cluster gets to another version
// without leaving the policy at any moment. Versions are compared by their minors, as the policy
// does; patches never matter. A component that emulates an older minor counts
// as that minor (KEP-4330, "Skew").
package skew
