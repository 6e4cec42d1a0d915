// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package units knows how to move one host to a version of Kubernetes whose components are
// services of systemd, started from binaries on its disk, and what that host really runs.
//
// Observe looks at the services: the file that each starts, the process that runs, the flags
// that it would be started with, and what the component says of its health. Ask asks a new
// binary whether it knows those flags and feature gates. A Raise brings one component to a
// binary that was sent ahead by Stage: the old file is kept beside, the new one is renamed into
// its place, the service is restarted, and if it is not healthy in time the old file comes back
// by itself. At every instant the path has one whole file; whoever repeats a Raise that was cut
// off carries on where it was.
package units
