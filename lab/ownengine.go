// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
)

// ownEngine is where the labs' own engine keeps what it has. Its socket is not
// in the state directory, whose path may be longer than a socket's can be.
type ownEngine struct {
	data string // images, volumes and containers
	log  string
	run  string // the socket and the process id; gone after a reboot
}

func ownEngineDirs() (ownEngine, error) {
	dir, err := statedir.Path("labs", "engine", "data")
	if err != nil {
		return ownEngine{}, err
	}
	sum := sha256.Sum256([]byte(dir))
	return ownEngine{
		data: dir,
		log:  filepath.Join(filepath.Dir(dir), "dockerd.log"),
		run:  fmt.Sprintf("/run/refit-lab-%x", sum[:4]),
	}, nil
}

func (o ownEngine) socket() string  { return filepath.Join(o.run, "docker.sock") }
func (o ownEngine) pidFile() string { return filepath.Join(o.run, "docker.pid") }

// start runs dockerd and returns when it answers. It uses no network of its own
// and no firewall rules: machines reach each other over their lab's bridge, and
// nothing else.
func (o ownEngine) start(ctx context.Context, dockerd string) error {
	for _, dir := range []string{o.data, o.run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(o.log, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// It outlives this process, so no context ends it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), dockerd, "--host", "unix://"+o.socket(), "--pidfile", o.pidFile(), "--data-root", o.data,
		"--exec-root", filepath.Join(o.run, "exec"), "--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-masq=false",
		"--userland-proxy=false", "--log-level", "warn")
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	e := &engine{flags: []string{"--host", "unix://" + o.socket()}}
	err = poll(ctx, 200*time.Millisecond, func() (bool, error) {
		select {
		case <-ended:
			return false, fmt.Errorf("dockerd ended: %s", lastLines(o.log, 5))
		default:
			return e.answers(ctx), nil
		}
	})
	if err != nil {
		return hint.Wrap(err, "look into %s", o.log)
	}
	return nil
}

// stop ends the labs' own engine and its containers, if it runs.
func (o ownEngine) stop(ctx context.Context) error {
	data, err := os.ReadFile(o.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("%s: %w", o.pidFile(), err)
	}
	running := func() bool { // the process may be another that got the number later
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err == nil && strings.Contains(string(cmdline), o.socket())
	}
	if running() {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return fmt.Errorf("end the Docker engine: %w", err)
		}
	}
	if err := poll(ctx, 100*time.Millisecond, func() (bool, error) { return !running(), nil }); err != nil {
		return fmt.Errorf("wait for the Docker engine to end: %w", err)
	}
	return os.RemoveAll(o.run)
}
