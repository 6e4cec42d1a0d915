// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/host"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/host/remote"
	"refit.dev/refit/report"
	"refit.dev/refit/upgrade"
)

// machines opens the way to machines, to look at them. What the function returns has to
// be called in the end.
func (a *app) machines(access inventory.Access) (upgrade.Hosts, func() error, error) {
	options, err := remote.DefaultOptions()
	if err != nil {
		return nil, nil, usageError(err)
	}
	machines, err := inventory.Open(access, options)
	if err != nil {
		return nil, nil, usageError(err)
	}
	for _, w := range machines.Warnings() {
		a.say("warning: " + report.Printable(w))
	}
	reach := func(node *corev1.Node) (host.Machine, error) { return machines.Machine(node, "") }
	return upgrade.Machines{Reach: reach}, machines.Close, nil
}
