// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"refit.dev/refit/internal/hint"
)

// lockPoll is how often a lock that somebody else holds is tried again; the
// system offers no wait that a context could end.
const lockPoll = 25 * time.Millisecond

// tryLock locks the file path exclusively and returns it; nil if another
// process holds a lock on it. Closing the file unlocks it, so does the end of
// the process, however it ends.
func tryLock(path string) (*os.File, error) { return lockAs(path, syscall.LOCK_EX) }

// shareLock locks the file path beside others that do so; nil if another process
// has it for itself.
func shareLock(path string) (*os.File, error) { return lockAs(path, syscall.LOCK_SH) }

func lockAs(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// waitLock locks the file path exclusively; waiting is called once if it has to wait.
func waitLock(ctx context.Context, path string, waiting func()) (*os.File, error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for first := true; ; first = false {
		f, err := tryLock(path)
		if f != nil || err != nil {
			return f, err
		}
		if first && waiting != nil {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the lock %s: %w", path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// lockName makes sure that nobody else brings the twin up or down; the
// returned function lets others. The lock lies beside the twin's directory,
// which comes and goes.
func (t *Twin) lockName(ctx context.Context, progress Progress) (func(), error) {
	root := filepath.Dir(t.dir)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the twins: %w", err)
	}
	f, err := waitLock(ctx, filepath.Join(root, "."+t.name+".lock"), func() {
		progress.say("waiting: twin %s is being brought up or down by another refit", t.name)
	})
	if err != nil {
		return nil, fmt.Errorf("twin %s: %w", t.name, err)
	}
	return func() { _ = f.Close() }, nil
}

// supervisorPID returns the process id of the twin's supervisor, 0 if none
// runs or if it has not written its id yet. A supervisor holds the lock while it
// lives and writes its id into it, so this is never a process that merely got the
// same number later.
func (t *Twin) supervisorPID() (int, error) {
	path := t.path("supervisor.lock")
	fail := func(err error) (int, error) {
		return 0, fmt.Errorf("look for the twin's supervisor: %w", err)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(data) == 0 {
		return 0, nil // without trying the lock, which would be in the way of a supervisor that takes it just now
	}
	if err != nil {
		return fail(err)
	}
	f, err := tryLock(path)
	if err != nil {
		return fail(err)
	}
	if f != nil {
		return 0, f.Close()
	}
	if data, err = os.ReadFile(path); err != nil { // again: what was there before may be from an earlier supervisor
		return fail(err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return 0, nil
	}
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 1 { // it gets signals; the kernel takes 0 and less for many processes at once
		return fail(hint.Wrap(fmt.Errorf("%s holds %.40q, no process id", path, text),
			"something else than refit-twin wrote to it; end the process that `fuser %s` names, then try again", path))
	}
	return pid, nil
}

// settledPID is supervisorPID, but waits for a supervisor that is just starting: it
// holds the run lock from the beginning and its own only a moment later. The same
// goes for the components of one that was killed, which end by themselves. waiting,
// if there is one, is called once if that is not done soon.
func (t *Twin) settledPID(ctx context.Context, waiting func()) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startDeadline, fmt.Errorf("not done after %s", startDeadline))
	defer cancel()
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	soon := time.NewTimer(time.Second)
	defer soon.Stop()
	path := t.path("run.lock")
	for {
		if pid, err := t.supervisorPID(); err != nil || pid != 0 {
			return pid, err
		}
		if f, err := tryLock(path); f != nil {
			return 0, f.Close()
		} else if err != nil {
			return 0, fmt.Errorf("look for the twin's processes: %w", err)
		}
		select {
		case <-ctx.Done():
			return 0, hint.Wrap(fmt.Errorf("wait for a supervisor that is starting, or for the end of processes that one left: %w",
				context.Cause(ctx)), "`fuser %s` names the processes; end what hangs, then try again", path)
		case <-soon.C:
			if waiting != nil {
				waiting()
			}
		case <-tick.C:
		}
	}
}

// awaitEnd waits until no process of the twin is left, supervisor or child.
func (t *Twin) awaitEnd(ctx context.Context) error {
	f, err := waitLock(ctx, t.path("run.lock"), nil)
	if err != nil {
		return err
	}
	return f.Close()
}

// detached are the attributes of a process that outlives this one: Ctrl-C in
// its terminal is not for it.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func terminate(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }
func kill(pid int) error      { return syscall.Kill(pid, syscall.SIGKILL) }
