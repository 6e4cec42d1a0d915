// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// Start starts a machine that is stopped, and returns when it has booted.
func (l *Lab) Start(ctx context.Context, machine string) error {
	if state, err := l.state(ctx, machine); err != nil {
		return err
	} else if state == "paused" {
		return l.Thaw(ctx, machine)
	}
	if _, err := l.engine.docker(ctx, nil, "start", l.container(machine)); err != nil {
		return err
	}
	return l.booted(ctx, machine)
}

// Stop shuts a machine down; it stays down until Start.
func (l *Lab) Stop(ctx context.Context, machine string) error {
	_, err := l.engine.docker(ctx, nil, "stop", l.container(machine))
	return err
}

// Kill takes the power from a machine; it stays down until Start.
func (l *Lab) Kill(ctx context.Context, machine string) error {
	_, err := l.engine.docker(ctx, nil, "kill", l.container(machine))
	return err
}

// Reboot restarts a machine, from the outside, and returns when it has booted.
// `reboot` inside of it does the same.
func (l *Lab) Reboot(ctx context.Context, machine string) error {
	if _, err := l.engine.docker(ctx, nil, "restart", l.container(machine)); err != nil {
		return err
	}
	return l.booted(ctx, machine)
}

// Freeze stops every process of a machine where it is, as a host that hangs:
// connections stay open and nothing answers. Thaw lets them go on.
func (l *Lab) Freeze(ctx context.Context, machine string) error {
	_, err := l.engine.docker(ctx, nil, "pause", l.container(machine))
	return err
}

// Thaw ends Freeze.
func (l *Lab) Thaw(ctx context.Context, machine string) error {
	_, err := l.engine.docker(ctx, nil, "unpause", l.container(machine))
	return err
}

// Cut is how SSH to a machine breaks.
type Cut string

const (
	// Reset ends connections, and refuses new ones.
	Reset Cut = "reset"
	// Silence drops what comes and goes, as a broken network does: connections stay open, nothing arrives.
	Silence Cut = "silence"
)

// CutSSH breaks SSH to a machine, for connections that are open too, until
// HealSSH or the machine's next boot. What runs in the machine goes on.
func (l *Lab) CutSSH(ctx context.Context, machine string, how Cut) error {
	target := "DROP"
	if how == Reset {
		target = "REJECT --reject-with tcp-reset"
	}
	script := fmt.Sprintf(`set -eu
iptables -N LAB-SSH 2>/dev/null || iptables -F LAB-SSH
iptables -A LAB-SSH -p tcp --dport 22 -j %s
iptables -C INPUT -j LAB-SSH 2>/dev/null || iptables -I INPUT -j LAB-SSH
`, target)
	if how == Reset {
		// The server's side of open connections ends too, where the client is silent.
		script += "ss --kill state established '( sport = :22 )' >/dev/null || true\n"
	} else {
		script += "iptables -C OUTPUT -p tcp --sport 22 -j DROP 2>/dev/null || iptables -I OUTPUT -p tcp --sport 22 -j DROP\n"
	}
	_, err := l.exec(ctx, machine, script)
	return err
}

// HealSSH ends CutSSH.
func (l *Lab) HealSSH(ctx context.Context, machine string) error {
	_, err := l.exec(ctx, machine, `set -eu
iptables -N LAB-SSH 2>/dev/null || iptables -F LAB-SSH
while iptables -D OUTPUT -p tcp --sport 22 -j DROP 2>/dev/null; do :; done
`)
	return err
}

// FillDisk puts a small full disk of size bytes at the directory path of a machine, over what
// is there, until FreeDisk or the machine's next boot: apt wants its packages in
// /var/cache/apt/archives, kubeadm its copies in /etc/kubernetes/tmp.
func (l *Lab) FillDisk(ctx context.Context, machine, path string, size int64) error {
	_, err := l.exec(ctx, machine, fmt.Sprintf(`set -eu
path=%s
mkdir -p "$path"
mount -t tmpfs -o size=%d lab-full "$path"
head -c %d /dev/zero >"$path/.lab-full" 2>/dev/null || true
`, quote(path), size, size))
	return err
}

// FreeDisk ends FillDisk.
func (l *Lab) FreeDisk(ctx context.Context, machine, path string) error {
	_, err := l.exec(ctx, machine, "umount "+quote(path))
	return err
}

// HidePackage takes a version of a package, which ends with the revision, out of
// the repository as a machine sees it, until ShowPackages.
func (l *Lab) HidePackage(_ context.Context, machine, name, version string) error {
	path, err := l.hiddenFile(machine)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeFile(path, fmt.Appendf(old, "%s_%s_%s.deb\n", name, version, runtime.GOARCH), 0o644)
}

// ShowPackages ends HidePackage for all packages of a machine.
func (l *Lab) ShowPackages(_ context.Context, machine string) error {
	path, err := l.hiddenFile(machine)
	if err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (l *Lab) hiddenFile(machine string) (string, error) {
	for _, m := range l.Machines() {
		if m.Name == machine {
			return l.path("hidden", m.Address.String()), nil
		}
	}
	return "", fmt.Errorf("lab %s has no machine %s", l.Name(), machine)
}

// Exec runs a script in a machine as root, past SSH, and returns what it writes.
// Its error has what it said when it failed.
func (l *Lab) Exec(ctx context.Context, machine, script string) (string, error) {
	return l.exec(ctx, machine, script)
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
