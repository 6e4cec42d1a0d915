// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package proven remembers which snapshot of a cluster was proven last, so that whoever is
// about to change the cluster can be told how old it is.
//
// There is one small file for each cluster, on the machine of who proved it: other machines
// know nothing of it. It says what was proven and when; whether the snapshot is still where it
// was is not known to it.
package proven
