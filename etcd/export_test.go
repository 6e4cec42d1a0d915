// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

type (
	// Disk is where a Saver writes to.
	Disk = disk
	// Output is a file on it.
	Output = output
)

// LocalDisk is the one of this machine.
func LocalDisk() Disk { return localDisk{} }

// On has it write to another disk.
func (s Saver) On(d Disk) Saver {
	s.disk = d
	return s
}

// Publish gives what was made aside its name.
var Publish = publish
