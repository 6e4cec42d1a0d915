// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"refit.dev/refit/provider"
)

// MachineEntry is a machine that a run has made, is to make, or is to remove, as its journal has it.
type MachineEntry struct {
	// Node is the one of the run that gives way; Machine the new one in its place, or with Old
	// its own.
	Node    string           `json:"node"`
	Machine provider.Machine `json:"machine"`
	Old     bool             `json:"old,omitempty"`
	Stand   MachineStand     `json:"standing"`
}

// MachineStand is where a machine stands.
type MachineStand string

const (
	// Ordered: it was to be asked for; it may be there, or not.
	Ordered MachineStand = "ordered"
	// Idle: it is there, and not in service.
	Idle MachineStand = "made"
	// Serving: its Node is in service.
	Serving MachineStand = "in service"
	// Leaving: its Node is being deleted; Owed: that is gone, and the machine is not, as far as is known.
	Leaving MachineStand = "leaving"
	Owed    MachineStand = "to be removed"
	Removed MachineStand = "removed"
)

// ledger lists the machines of a run, in the order of its nodes.
func (s *Status) ledger() (list []MachineEntry) {
	for _, target := range s.Spec.Nodes {
		n := s.Nodes[target.Name]
		if n.Machine == nil {
			continue
		}
		fresh := MachineEntry{Node: target.Name, Machine: n.Machine.Machine, Stand: Serving}
		switch {
		case n.Steps[StepAbandon] == Done:
			fresh.Stand = Removed
		case n.Steps[StepCreate] != Done:
			fresh.Stand = Ordered
		case n.Steps[StepJoin] != Done:
			fresh.Stand = Idle
		}
		list = append(list, fresh)
		old := MachineEntry{Node: target.Name, Machine: s.Spec.Upgrade.Replace.Machines[target.Name], Old: true}
		switch {
		case n.Steps[StepDispose] == Done:
			old.Stand = Removed
		case n.Steps[StepDepart] == Done:
			old.Stand = Owed
		case n.Steps[StepDepart] != "":
			old.Stand = Leaving
		default:
			continue
		}
		list = append(list, old)
	}
	return list
}
