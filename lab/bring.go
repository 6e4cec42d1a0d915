// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"strings"
)

// clean removes what a command that was killed left half-made. A worker is
// simply made anew. A control plane may be an etcd member already, or half of
// one: with any of them missing everything begins anew.
func (l *Lab) clean(ctx context.Context, progress Progress) error {
	if err := l.sweep(ctx); err != nil {
		return err
	}
	half := map[string]bool{}
	var whole bool
	anew := false
	for _, m := range l.founders() {
		state, err := l.state(ctx, m.Name)
		if err != nil {
			return err
		}
		if state == "" {
			half[m.Name] = false
			anew = anew || m.Role == ControlPlane
			continue
		}
		if state != "running" && state != "created" {
			if err := l.Start(ctx, m.Name); err != nil {
				return err
			}
		}
		if _, err := l.exec(ctx, m.Name, "test -e "+joined); state == "created" || err != nil {
			half[m.Name] = true
			anew = anew || m.Role == ControlPlane
		} else {
			whole = true
		}
	}
	if anew && whole {
		progress.say("the control plane is not whole: beginning anew")
	}
	if !anew && len(half) > 0 {
		if err := l.apiReady(ctx); err != nil {
			return err
		}
	}
	for _, m := range l.founders() {
		isHalf, incomplete := half[m.Name]
		if isHalf || anew && !incomplete {
			if err := l.remove(ctx, m.Name); err != nil {
				return err
			}
		}
		// A node of the name that is no more would be taken for this one.
		if incomplete && !anew {
			if _, err := l.exec(ctx, "cp1", kubectl+"delete node --ignore-not-found "+m.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// bring makes a machine run, with the packages that its role wants.
func (l *Lab) bring(ctx context.Context, m Machine, made made, keys keys) error {
	if l.isAdded(m.Name) { // it sees to itself
		return l.Start(ctx, m.Name)
	}
	state, err := l.state(ctx, m.Name)
	if err != nil {
		return err
	}
	if state == "created" { // its files may not be in it
		if err := l.remove(ctx, m.Name); err != nil {
			return err
		}
		state = ""
	}
	if state == "" {
		files, err := l.filesOf(made.host, keys.login, made.pause)
		if err != nil {
			return err
		}
		if err := l.assemble(ctx, m, made.image, made.host, files, keys.host[m.Name]); err != nil {
			return err
		}
	}
	if err := l.Start(ctx, m.Name); err != nil {
		return err
	}
	if m.Role == Balancer {
		return l.balance(ctx, m)
	}
	if l.record.Options.Flavour == Scratch {
		return nil // it gets its binaries with its certificates
	}
	return l.install(ctx, m)
}

// assemble makes a machine that has not been started yet, with its files and its SSH key.
func (l *Lab) assemble(ctx context.Context, m Machine, image string, h host, files map[string]string, hostKey string) error {
	err := l.create(ctx, m, image, h, files)
	if err == nil {
		err = l.put(ctx, m.Name, map[string]string{"./etc/ssh/ssh_host_ed25519_key": hostKey}, 0o600)
	}
	if err != nil {
		return fmt.Errorf("make machine %s: %w", m.Name, err)
	}
	return nil
}

// install installs the packages of Kubernetes, held, as kubeadm's documentation
// has it; a machine that has joined has them.
func (l *Lab) install(ctx context.Context, m Machine) error {
	script := "set -eu\n[ ! -e " + joined + " ] || exit 0\n" + l.installation(l.record.Options.Version)
	return within(ctx, installLimit, "install Kubernetes", func(ctx context.Context) error {
		_, err := l.exec(ctx, m.Name, script)
		return err
	})
}

// installation is a script that installs the packages of a version of Kubernetes, held.
func (l *Lab) installation(version string) string {
	return fmt.Sprintf(`export DEBIAN_FRONTEND=noninteractive
echo 'deb [trusted=yes] %[1]s/core:/stable:/v%[2]s/deb/ /' >/etc/apt/sources.list.d/kubernetes.list
apt-get -q update
dpkg --configure -a
apt-get -q -y install kubeadm='%[3]s-*' kubelet='%[3]s-*' kubectl='%[3]s-*'
apt-mark hold kubeadm kubelet kubectl
`, l.StoreURL(), version[:strings.LastIndex(version, ".")], version)
}

// balance starts the load balancer.
func (l *Lab) balance(ctx context.Context, m Machine) error {
	var servers []Machine
	for _, s := range l.Nodes() {
		if s.Role == ControlPlane {
			servers = append(servers, s)
		}
	}
	config, err := fill("haproxy.cfg", struct{ Servers []Machine }{servers})
	if err != nil {
		return err
	}
	if err := l.put(ctx, m.Name, map[string]string{"./etc/haproxy/haproxy.cfg": config}, 0o644); err != nil {
		return err
	}
	_, err = l.exec(ctx, m.Name, "systemctl --quiet enable --now haproxy.service")
	return err
}
