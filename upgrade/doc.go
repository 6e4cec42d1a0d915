// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package upgrade knows what a cluster runs, and what it takes to bring it to
// another version.
//
// Observe reads the cluster, and each host if it is let on it, into a State: a value.
// Decide is pure: from a State and an Intent it makes a Plan - the hops, what is done
// on which node in which order, estimates, and everything that was found to be in the
// way. A Plan can be saved; Changes says what makes a saved one stale. Progress is what
// refit upgrade status tells, from the cluster alone.
//
// What was not seen is said in a finding and never guessed.
package upgrade
