// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package inventory knows the machines of a cluster's nodes: a machine is where its
// Node says it is, unless a file says otherwise for some of them. It hands out one
// host.Host, or host.Machine, for each node.
package inventory
