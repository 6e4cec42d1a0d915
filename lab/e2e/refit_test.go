// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"refit.dev/refit/lab"
)

// refit is the program that `make build` makes.
const refit = "../../bin/refit"

// operator is somebody at a shell who runs refit against a lab.
type operator struct {
	lab   *lab.Lab
	state string // the state directory
	env   []string
}

// newOperator has journals of its own.
func newOperator(t *testing.T, l *lab.Lab) operator {
	state := t.TempDir()
	return operator{l, state, append(os.Environ(), "KUBECONFIG="+l.Kubeconfig(), "REFIT_STATE_DIR="+state)}
}

// reach are the flags of the verbs that log in to the lab's machines.
func (o operator) reach() []string { return []string{"--ssh-config", o.lab.SSHConfig()} }

// apply are the arguments of an upgrade of the whole lab without questions.
func (o operator) apply(more ...string) []string {
	args := append([]string{"upgrade", "apply", "--to", next, "--yes"}, o.reach()...)
	// What kubeadm has against cgroup v1 is to be passed over, it says itself.
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		args = append(args, "--ignore-preflight-errors", "SystemVerification")
	}
	return append(args, more...)
}

// said is what a command of refit's left.
type said struct {
	code     int
	out, err string
}

// running is a refit that has not ended yet.
type running struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	begun    time.Time
	ended    chan struct{}
}

// start starts refit. If the test fails it shows how far the command came, and when the
// test ends the command does too.
func (o operator) start(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(refit, args...), begun: time.Now(), ended: make(chan struct{})}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = o.env, &r.out, &r.err
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("start refit: %v: make build makes it", err)
	}
	go func() { _ = r.cmd.Wait(); close(r.ended) }()
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			t.Logf("refit %s\n%s%s", strings.Join(args, " "), r.out.String(), lastLines(r.err.String(), 60))
		}
	})
	return r
}

// kill is kill -9. It returns when the process is gone.
func (r *running) kill() {
	_ = r.cmd.Process.Kill() // it may have ended
	<-r.ended
}

// alive fails the test if refit has ended, for whatever reason.
func (r *running) alive(t *testing.T) {
	t.Helper()
	select {
	case <-r.ended:
		t.Fatalf("refit ended with status %d while it was to work: %s", r.cmd.ProcessState.ExitCode(), lastLines(r.err.String(), 10))
	default:
	}
}

// wait returns what refit said when it has ended.
func (r *running) wait(t *testing.T) said {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(deadline):
		t.Fatalf("refit %s: not finished after %s", strings.Join(r.cmd.Args[1:], " "), deadline)
	}
	s := said{r.cmd.ProcessState.ExitCode(), r.out.String(), r.err.String()}
	t.Logf("refit %s: status %d after %s: %s", strings.Join(r.cmd.Args[1:], " "), s.code, time.Since(r.begun).Round(time.Second), lastLines(s.err, 3))
	return s
}

// run runs refit to its end.
func (o operator) run(t *testing.T, args ...string) said {
	t.Helper()
	return o.start(t, args...).wait(t)
}

// want wants an exit status, and that the words are in what was said on standard error.
func (s said) want(t *testing.T, code int, words ...string) {
	t.Helper()
	if s.code != code {
		t.Errorf("status %d, want %d: %s", s.code, code, lastLines(s.err, 10))
	}
	text := strings.Join(strings.Fields(s.err), " ") // lines are wrapped
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("it does not say %q: %s", w, lastLines(s.err, 20))
		}
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// inMachine runs a script in a machine, as root and past SSH, that waits for something to
// happen there; during is what has to go on meanwhile.
func inMachine(t *testing.T, l *lab.Lab, machine, what, script string, during *running) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if during != nil {
		go func() {
			select {
			case <-during.ended:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	out, err := l.Exec(ctx, machine, script)
	if errors.Is(ctx.Err(), context.Canceled) && during != nil {
		during.alive(t)
	}
	if err != nil {
		t.Fatalf("%s on %s: %v", what, machine, err)
	}
	return strings.TrimSpace(out)
}
