// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hosttest has a scripted host.Machine for tests: it answers the commands
// that a test expects, in their order, and fails the test on any other. Its files
// are in memory.
package hosttest
