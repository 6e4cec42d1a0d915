// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestMaintainOverSSH(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"key": "", "inventory.yaml": "apiVersion: refit.dev/v1alpha1\nkind: Inventory\nnodes:\n  node-01: {address: 10.0.0.1}\n",
		"bad.yaml": "apiVersion: refit.dev/v1alpha1\nkind: Inventory\nnodes:\n  node-01: {addr: 10.0.0.1}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"--all --reboot --ssh", ""},
		{"--all --command true --ssh --ssh-user admin --ssh-key key --ssh-config none --inventory inventory.yaml", ""},
		{"--all --reboot --ssh-user admin", "--ssh-user"},
		{"--all --reboot --inventory inventory.yaml", "--inventory"},
		{"--all --reboot --ssh --ssh-key nothing", "--ssh-key"},
		{"--all --reboot --ssh --inventory nothing", "nothing"},
		{"--all --reboot --ssh --inventory bad.yaml", `line 4: there is no field "addr"`},
	} {
		var f maintainFlags
		flags := pflag.NewFlagSet("maintain", pflag.ContinueOnError)
		f.add(flags)
		if err := flags.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		err := f.complete(flags)
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.args, err, c.want)
		case c.want == "" && (err != nil || f.request.Access == nil):
			t.Errorf("%s: got %+v, %v", c.args, f.request.Access, err)
		case c.want == "" && f.ssh.key != "" && (f.request.Access.IdentityFile != filepath.Join(dir, "key") || f.request.Access.Nodes[0].Address != "10.0.0.1"):
			t.Errorf("%s: got %+v", c.args, f.request.Access)
		}
	}
}
