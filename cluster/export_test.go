// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

// For the test on a twin, which stands on this package and so cannot be in it.
var (
	Draw      = draw
	ClientFor = clientFor
)
