// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/host"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/host/remote"
	"refit.dev/refit/report"
)

// openMachines opens the way to machines, and says what of the settings is left out.
// Whoever asked for them closes them.
func (a *app) openMachines(access inventory.Access) (*inventory.Machines, error) {
	options, err := remote.DefaultOptions()
	if err != nil {
		return nil, usageError(err)
	}
	machines, err := inventory.Open(access, options)
	if err != nil {
		return nil, usageError(err)
	}
	for _, w := range machines.Warnings() {
		a.say("warning: " + report.Printable(w))
	}
	return machines, nil
}

// machines opens the way to machines, to look at them. What the function returns has to
// be called in the end.
func (a *app) machines(access inventory.Access) (reach func(*corev1.Node) (host.Machine, error), closing func() error, err error) {
	machines, err := a.openMachines(access)
	if err != nil {
		return nil, nil, err
	}
	return func(node *corev1.Node) (host.Machine, error) { return machines.Machine(node, "") }, machines.Close, nil
}
