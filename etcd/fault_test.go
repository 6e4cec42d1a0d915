// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/internal/aside"
	"refit.dev/refit/internal/hint"
)

// faulty is a disk on which the step with the number at meets with a fault: making the
// file, each write, the sync, the renaming, and, where it is said, what comes after it.
type faulty struct {
	etcd.Disk
	at    int
	fault func() error
	after bool
	steps int
}

func (f *faulty) step() error {
	if f.steps++; f.steps == f.at {
		return f.fault()
	}
	return nil
}

func (f *faulty) Create(dir, prefix string) (etcd.Output, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	o, err := f.Disk.Create(dir, prefix)
	return &faultyFile{o, f}, err
}

func (f *faulty) Publish(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	if err := f.Disk.Publish(from, to); err != nil || !f.after {
		return err
	}
	return f.step()
}

type faultyFile struct {
	etcd.Output
	disk *faulty
}

// Write writes half of it if there is a fault.
func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.disk.step(); err != nil {
		n, _ := f.Output.Write(p[:len(p)/2])
		return n, err
	}
	return f.Output.Write(p)
}

func (f *faultyFile) Sync() error {
	return errors.Join(f.disk.step(), f.Output.Sync())
}

// large starts an etcd whose snapshot takes several writes.
func large(t *testing.T) *etcdtest.Etcd {
	t.Helper()
	e := etcdtest.Start(t)
	for i := range 4 {
		put(t, e, fmt.Sprintf("large-%d", i), strings.Repeat("x", 1<<20))
	}
	return e
}

// names are what there is in a directory.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// A disk that is full or broken at any step: save says so, and nothing is left.
func TestSaveOnBrokenDisk(t *testing.T) {
	e := large(t)
	for _, errno := range []syscall.Errno{unix.ENOSPC, unix.EIO} {
		for at := 1; ; at++ {
			dir := t.TempDir()
			disk := &faulty{Disk: etcd.LocalDisk(), at: at, fault: func() error { return errno }}
			_, err := etcd.Saver{Access: e.Access(), Worker: etcdtest.Worker(t), Clock: clock.RealClock{}}.On(disk).Save(t.Context(), filepath.Join(dir, "snapshot.db"))
			if disk.steps < at {
				if err != nil {
					t.Errorf("without a fault: %v", err)
				}
				if at < 8 { // a file, four writes or more, a sync, and the renaming
					t.Errorf("there were %d steps only", disk.steps)
				}
				break
			}
			if left := names(t, dir); !errors.Is(err, errno) || len(left) > 0 {
				t.Errorf("%v at step %d: %v; left %q", errno, at, err, left)
			}
			if errno == unix.ENOSPC && !strings.Contains(hint.Of(err), "the disk is full") {
				t.Errorf("at step %d the hint is %q", at, hint.Of(err))
			}
		}
	}
}

// saveEnv has the test's program save a snapshot as it says, and be killed: see killed.
const saveEnv = "REFIT_TEST_SAVE"

// saveAndDie is what a process does that saves, and is killed at a step: step 0 is when
// the worker is asked.
func saveAndDie(text string) error {
	f := strings.Fields(text)
	at, err := strconv.Atoi(f[2])
	if err != nil {
		return err
	}
	disk := &faulty{Disk: etcd.LocalDisk(), at: at, after: true, fault: func() error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) }}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	worker := etcd.Worker{Argv: []string{"/usr/bin/env", "-u", saveEnv, etcdtest.WorkerEnv + "=1", self}}
	if at == 0 {
		worker.Argv = killer()
	}
	access := etcd.Access{Endpoints: f[:1], Patience: time.Minute}
	_, err = etcd.Saver{Access: access, Worker: worker, Clock: clock.RealClock{}}.On(disk).Save(context.Background(), f[1])
	return err
}

// killer is a worker that kills who has started it.
func killer() []string { return []string{"sh", "-c", "kill -9 $PPID"} }

// killed runs this program with a variable and tells whether it was killed.
func killed(t *testing.T, variable string) bool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), variable)
	out, err := cmd.CombinedOutput()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return false
	case ended && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return true
	}
	t.Fatalf("%v: %s", err, out)
	return false
}

// Killed at any step, save leaves nothing of the file's name but a whole one; and the next
// one clears away what is left aside.
func TestSaveKilled(t *testing.T) {
	e := large(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "snapshot.db")
	for at := 0; ; at++ {
		died := killed(t, fmt.Sprintf("%s=%s %s %d", saveEnv, e.Endpoint, file, at))
		found := names(t, dir)
		if _, err := os.Stat(file); err == nil {
			if _, err := etcdtest.Worker(t).Status(t.Context(), file); err != nil {
				t.Errorf("killed at step %d, there is a file that is not whole: %v", at, err)
			}
			if len(found) != 1 {
				t.Errorf("killed at step %d, it has left %q", at, found)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		} else if len(found) > 1 {
			t.Errorf("step %d: nobody has cleared away %q", at, found)
		}
		if !died {
			if at < 9 {
				t.Errorf("there were %d steps only", at)
			}
			return
		}
	}
}

// verifyEnv has the test's program verify a snapshot: see TestVerifyKilled.
const verifyEnv = "REFIT_TEST_VERIFY"

func verifyAndDie(text string) error {
	f := strings.Fields(text)
	_, err := etcd.Worker{Argv: killer()}.Verify(context.Background(), f[0], f[1])
	return err
}

// What a killed verify has left, the next one clears away; not what one does that lives, and
// nothing else.
func TestVerifyKilled(t *testing.T) {
	_, file := save(t, etcdtest.Start(t))
	scratch := t.TempDir()
	if !killed(t, fmt.Sprintf("%s=%s %s", verifyEnv, file, scratch)) || len(names(t, scratch)) != 1 {
		t.Fatalf("it has left %q", names(t, scratch))
	}
	living, remove, err := aside.Dir(scratch, "refit-verify-")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(scratch, "refit-verify-mine")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := etcdtest.Worker(t).Verify(t.Context(), file, scratch); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint([]string{filepath.Base(living), "refit-verify-mine"})
	if got := fmt.Sprint(names(t, scratch)); got != want {
		t.Errorf("there is %s, want %s", got, want)
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
}

// Nothing is overwritten that appears at the last moment.
func TestPublish(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for path, text := range map[string]string{from: "new", to: "mine"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := etcd.Publish(from, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("published over a file: %v", err)
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	if err := etcd.Publish(from, filepath.Join(dir, "no", "to")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("published into nothing: %v", err)
	}
}
