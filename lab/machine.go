// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// Limits for what a machine does, which keep a lab from hanging; they are far
// from what is usual on a busy machine.
const (
	bootLimit    = 5 * time.Minute
	installLimit = 15 * time.Minute
	kubeadmLimit = 20 * time.Minute
)

// capabilities returns those that a machine is given: every one that this
// process may hand on and that Docker has always known, by their numbers in
// capability.h. An engine gives --privileged containers all it knows of, and
// fails where the system keeps one back.
func capabilities(status string) (names []string, resource bool, err error) {
	known := strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
		NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
		SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
		MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ`)
	_, rest, _ := strings.Cut(status, "CapBnd:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return nil, false, fmt.Errorf("the system does not tell the capabilities of this process")
	}
	set, err := strconv.ParseUint(fields[0], 16, 64)
	if err != nil {
		return nil, false, fmt.Errorf("capabilities of this process: %w", err)
	}
	for i, name := range known {
		if set&(1<<i) != 0 {
			names = append(names, name)
			resource = resource || name == "SYS_RESOURCE"
		}
	}
	return names, resource, nil
}

// host is what the machines are told of the machine underneath.
type host struct {
	capabilities []string
	Restricted   bool // without CAP_SYS_RESOURCE
	CgroupV1     bool
}

func (e *engine) host(ctx context.Context) (host, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return host{}, err
	}
	names, resource, err := capabilities(string(status))
	if err != nil {
		return host{}, err
	}
	version, err := e.docker(ctx, nil, "info", "--format", "{{.CgroupVersion}}")
	if err != nil {
		return host{}, fmt.Errorf("ask for the version of control groups: %w", err)
	}
	return host{names, !resource, strings.TrimSpace(version) == "1"}, nil
}

// create makes the container of a machine and puts its files into it.
func (l *Lab) create(ctx context.Context, m Machine, image string, h host, files map[string]string) error {
	args := []string{"create", "--name", l.container(m.Name), "--hostname", m.Name, "--label", label(l.Name()),
		"--network", l.network(), "--ip", m.Address.String(), "--restart", "unless-stopped", "--stop-timeout", "30", "--stop-signal", "SIGRTMIN+3",
		"--cgroupns", "private", "--tmpfs", "/run", "--tmpfs", "/tmp:exec", "--sysctl", "net.ipv4.ip_forward=1",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined",
		"--device-cgroup-rule", "a *:* rwm",
		// An overlay cannot lie on another, and these are written to most.
		"--volume", "/var/lib/containerd", "--volume", "/var/lib/kubelet", "--volume", "/var/lib/etcd"}
	for _, c := range h.capabilities {
		args = append(args, "--cap-add", c)
	}
	if _, err := l.engine.docker(ctx, nil, append(args, image)...); err != nil {
		return err
	}
	return l.put(ctx, m.Name, files, 0o644)
}

// put writes texts into a machine, whether it runs or not.
func (l *Lab) put(ctx context.Context, machine string, texts map[string]string, mode int64) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeTar(w, nil, texts, mode)) }()
	defer r.Close()
	_, err := l.engine.docker(ctx, r, "cp", "-", l.container(machine)+":/")
	return err
}

// exec runs a script in a machine, as root, and returns what it writes.
func (l *Lab) exec(ctx context.Context, machine, script string) (string, error) {
	out, err := l.engine.docker(ctx, strings.NewReader(script), "exec", "--interactive", l.container(machine), "sh", "-s")
	if err != nil {
		return out, fmt.Errorf("machine %s: %w", machine, err)
	}
	return out, nil
}

// booted returns when the services of a machine run.
func (l *Lab) booted(ctx context.Context, machine string) error {
	return within(ctx, bootLimit, "wait until machine "+machine+" has booted", func(ctx context.Context) error {
		return poll(ctx, 300*time.Millisecond, func() (bool, error) {
			_, err := l.exec(ctx, machine, "systemctl --quiet is-active ssh.service containerd.service")
			return err == nil, nil
		})
	})
}

// state returns what the engine says of a machine: running, exited, paused and
// the like; empty if it has no such container.
func (l *Lab) state(ctx context.Context, machine string) (string, error) {
	out, err := l.engine.docker(ctx, nil, "ps", "--all", "--filter", "name=^"+l.container(machine)+"$", "--format", "{{.State}}")
	return strings.TrimSpace(out), err
}

func (l *Lab) remove(ctx context.Context, machine string) error {
	_, err := l.engine.docker(ctx, nil, "rm", "--force", "--volumes", l.container(machine))
	return err
}

// filesOf returns what a machine has beside its image, but for its secret.
func (l *Lab) filesOf(h host, login, pause string) (map[string]string, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	containerd, err := fill("containerd.toml", struct {
		host
		Pause string
	}{h, pause})
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"./etc/machine-id":                             hex.EncodeToString(id) + "\n",
		"./etc/ssh/lab_authorized_keys":                login,
		"./etc/containerd/config.toml":                 containerd,
		"./etc/containerd/certs.d/_default/hosts.toml": fmt.Sprintf("server = %q\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", l.StoreURL(), l.StoreURL()),
		"./etc/lab/resolv.conf":                        fmt.Sprintf("nameserver %s\n", l.storeAddress()), // nobody answers there, and says so
	}, nil
}

// fill fills a template of the directory machine.
func fill(name string, data any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(text(name))
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if err := t.Execute(&out, data); err != nil {
		return "", err
	}
	return out.String(), nil
}
