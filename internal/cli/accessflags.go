// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/host"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/host/remote"
	"refit.dev/refit/report"
	"refit.dev/refit/upgrade"
)

// accessFlags say how machines are reached.
type accessFlags struct {
	access    inventory.Access
	inventory string
}

func (f *accessFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.access.User, "ssh-user", "", "log in as this user (default: what ssh_config says); commands are run by sudo unless it is root")
	flags.StringVar(&f.access.IdentityFile, "ssh-key", "", "log in with the private key in this file, and with no other")
	flags.StringVar(&f.access.ConfigFile, "ssh-config", "", "read this instead of the user's and the system's ssh_config; none reads neither")
	flags.StringVar(&f.inventory, "inventory", "", "a file with the nodes whose machines are reached otherwise than their Node and ssh_config say")
}

// complete reads the inventory.
func (f *accessFlags) complete() error {
	if f.inventory == "" {
		return nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return fmt.Errorf("find the user's directory: %w", err)
	}
	f.access.Nodes, err = inventory.Load(f.inventory, home)
	return err
}

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
