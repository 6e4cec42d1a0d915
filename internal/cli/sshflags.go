// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"refit.dev/refit/host/inventory"
	"refit.dev/refit/host/remote"
	"refit.dev/refit/internal/hint"
)

// sshFlags say how machines are logged in to.
type sshFlags struct {
	user, key, config, inventory string
}

func (f *sshFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.user, "ssh-user", "", "log in as this user (default: what ssh_config says); commands are run by sudo unless it is root")
	flags.StringVar(&f.key, "ssh-key", "", "log in with the private key in this file, and with no other")
	flags.StringVar(&f.config, "ssh-config", "", "read this instead of the user's and the system's ssh_config; none reads neither")
	flags.StringVar(&f.inventory, "inventory", "", "a file with the nodes whose machines are reached otherwise than their Node and ssh_config say")
}

// given names a flag of these that was given, or is "".
func (f *sshFlags) given(flags *pflag.FlagSet) string {
	for _, name := range []string{"ssh-user", "ssh-key", "ssh-config", "inventory"} {
		if flags.Changed(name) {
			return name
		}
	}
	return ""
}

// access reads the inventory and makes the paths absolute: who resumes a run may
// stand in another directory.
func (f *sshFlags) access() (*inventory.Access, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find the user's directory: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the directory that paths start at: %w", err)
	}
	a := &inventory.Access{User: f.user, IdentityFile: inventory.Path(f.key, dir, home), ConfigFile: f.config}
	if f.config != remote.NoConfig {
		a.ConfigFile = inventory.Path(f.config, dir, home)
	}
	if f.key != "" {
		if _, err := os.Stat(a.IdentityFile); err != nil {
			return nil, hint.Wrap(fmt.Errorf("--ssh-key: %w", err), "name the file of a private key, or leave the flag out for those of ssh_config and the agent")
		}
	}
	if f.inventory != "" {
		if a.Nodes, err = inventory.Load(f.inventory, home); err != nil {
			return nil, fmt.Errorf("--inventory: %w", err)
		}
	}
	return a, nil
}
