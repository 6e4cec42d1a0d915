// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reality records what really becomes of the pods of lost nodes, and
// holds a forecast against it. It is for tests and benchmarks on a twin.
//
// It does not trust the forecast: it has watches of its own and shares no rule
// with it. What it goes by is what the server wrote: deletion timestamps, the
// times of taints and conditions, who manages a field since when, and the order
// of resource versions, which are all revisions of one etcd. The server writes
// times to the second, so a measured error may be off by one.
package reality
