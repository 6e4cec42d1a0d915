// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

// What tests outside of the package look at.
var (
	RebootMachine = rebootMachine
	ParseUnit     = parseUnit
)

// RebootFile is where the last reboot is written down.
const RebootFile = rebootFile

// Script is the file that a unit is started from.
func (u Unit) Script() string { return u.script() }
