// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/internal/hint"
)

// suite is the Debian of the machines.
const suite = "bookworm"

// mirrorEnv names the environment variable with the mirror to take Debian from.
const mirrorEnv = "REFIT_LAB_MIRROR"

// debian are the packages of a machine beside the essential ones.
func debian() []string {
	return strings.Fields(`
		systemd systemd-sysv dbus apt-utils ca-certificates procps kmod less openssh-server sudo
		iproute2 iptables iputils-ping conntrack ethtool socat
		runc containernetworking-plugins haproxy`)
}

// baseName is what a machine's Debian with these packages is called in the cache, without its key.
func baseName(packages []string) string {
	if len(packages) == len(debian()) {
		return "debian"
	}
	return "debian-dnf"
}

// baseKey is the sum of what a machine's Debian with these packages is made of.
func baseKey(packages []string) (string, error) {
	return key(append(slices.Clone(packages), suite, text("debian.sh"), text("iptables-files.sh"))...)
}

// debianBase returns a directory with rootfs.tar, a Debian that boots with these packages, and
// iptables.tar, those files of it that kube-proxy needs beside itself.
func (c *cache) debianBase(ctx context.Context, packages []string) (string, error) {
	k, err := baseKey(packages)
	if err != nil {
		return "", err
	}
	return c.get(baseName(packages), k, func(dir string) error {
		if _, err := exec.LookPath("debootstrap"); err != nil {
			return hint.Wrap(fmt.Errorf("a machine's Debian is made with debootstrap: %w", err), "install it, on Debian with `apt-get install debootstrap`")
		}
		c.progress.say("making the machines' Debian with debootstrap: two minutes or a few")
		begin := time.Now()
		root := filepath.Join(dir, "rootfs")
		// In a mount namespace of its own what it mounts goes when it ends, however it does.
		argv := []string{"unshare", "--mount", "debootstrap", "--variant=minbase", "--include=" + strings.Join(packages, ","), suite, root}
		if mirror := os.Getenv(mirrorEnv); mirror != "" {
			argv = append(argv, mirror)
		}
		if _, err := (command{Argv: argv}).run(ctx); err != nil {
			return hint.Wrap(fmt.Errorf("make the machines' Debian: %w", err), "a mirror of Debian has to be in reach; %s names another one", mirrorEnv)
		}
		if _, err := (command{Argv: []string{"chroot", root, "sh", "-s"}, Stdin: strings.NewReader(text("debian.sh"))}).run(ctx); err != nil {
			return fmt.Errorf("make a machine of Debian: %w", err)
		}
		files, err := command{Argv: []string{"chroot", root, "sh", "-s"}, Stdin: strings.NewReader(text("iptables-files.sh"))}.run(ctx)
		if err != nil {
			return fmt.Errorf("list the files of iptables: %w", err)
		}
		tar := []string{"tar", "--numeric-owner", "--no-recursion", "-C", root, "-cf", filepath.Join(dir, "iptables.tar"), "-T", "-"}
		if _, err := (command{Argv: tar, Stdin: strings.NewReader(files)}).run(ctx); err != nil {
			return err
		}
		tar = []string{"tar", "--numeric-owner", "-C", root, "--exclude=./var/cache/apt/archives/*.deb", "-cf", filepath.Join(dir, "rootfs.tar"), "."}
		if _, err := (command{Argv: tar}).run(ctx); err != nil {
			return err
		}
		c.progress.say("made the machines' Debian in %s", time.Since(begin).Round(time.Second))
		return os.RemoveAll(root)
	})
}
