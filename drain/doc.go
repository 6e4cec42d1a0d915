// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package drain empties nodes of their pods through the Eviction API, as fast
// as the disruption budgets allow and never faster.
//
// Its parts, from the outside in:
//
//   - Drainer.Nodes is the whole of `refit drain`: cordon, drain, undo what failed.
//   - Drainer empties nodes, many at once. One goroutine decides, fed by the
//     watches of a cluster.Watcher; workers send the evictions. There is no
//     polling and no sleeping: a pod that a budget holds back waits for that
//     budget to change, and holds up nobody else.
//   - Select says which pods leave, which stay by rule, and which may not be
//     touched without one more flag. It is a pure function, with the meaning of
//     kubectl drain's flags.
//   - Evictor asks for one eviction; what the API server's answers mean is in
//     one pure function.
//   - Cordon and Uncordon mark nodes, and record on the node who did.
//
// The API server has the last word on every budget. What the package computes
// from its caches only decides when it is worth asking.
package drain
