// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package aside makes files and directories for what is not finished, or not needed for long. Each is
// locked (flock(2)) as long as the process lives that makes it, so that whoever makes the next one of
// that kind can tell what a killed process has left there, and removes it: snapshots hold
// every Secret of a cluster, and disks are not endless.
//
// Files are those of this user alone. On file systems without locks nothing is ever swept.
package aside
