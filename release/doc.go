// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package release reads binaries of Kubernetes from a place that is laid out like the official
// releases: vX.Y.Z/bin/linux/ARCH/NAME, with NAME.sha256 or NAME.sha512 beside it
// (https://kubernetes.io/releases/download/#binaries). The place is a directory, a file:// or an
// https:// URL.
//
// A binary without a sum, or whose sums do not match, is refused: nobody gets to see it. What
// comes over https is kept in a cache, and its sums are checked whenever it is used.
package release
