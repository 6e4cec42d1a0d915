// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e has tests on real machines, see package lab. They want root and
// Docker, and are run by `make e2e`, which sets the build tag e2e.
package e2e
