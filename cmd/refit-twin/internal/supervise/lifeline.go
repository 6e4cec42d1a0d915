// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// A lifeline is the read end of a pipe whose write end only the parent holds.
// When the parent goes, however it goes, the read ends and so does the process
// that holds it: kill -9 of the supervisor leaves no child behind. It works
// wherever there are pipes, unlike Linux's parent-death signal, which is also
// sent when merely the thread that started the child ends.
const (
	lifelineEnv = "REFIT_TWIN_LIFELINE" // number of the file descriptor
	lockEnv     = "REFIT_TWIN_RUNLOCK"  // file that is locked, shared, while the process lives
)

// HoldLifeline makes this process end with its parent, if the parent handed it
// a lifeline, and locks the run file, so that whoever can lock that file
// exclusively knows that no process of the twin is left. Every program of
// refit-twin calls it first.
func HoldLifeline() error {
	var running *os.File
	if path := os.Getenv(lockEnv); path != "" {
		var err error
		if running, err = lock(path, syscall.LOCK_SH); err != nil {
			return err
		}
	}
	v := os.Getenv(lifelineEnv)
	if v == "" {
		return nil
	}
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return fmt.Errorf("%s=%q: want the number of a file descriptor", lifelineEnv, v)
	}
	syscall.CloseOnExec(fd)
	_ = os.Unsetenv(lifelineEnv)
	pipe := os.NewFile(uintptr(fd), "lifeline")
	go func() {
		_, _ = pipe.Read(make([]byte, 1)) // returns when the last writer is gone
		runtime.KeepAlive(running)        // collecting the file would unlock it
		os.Exit(1)
	}()
	return nil
}

// lock locks the file path without waiting; how is syscall.LOCK_SH or
// LOCK_EX. The lock is held until the process ends: keep the file referenced.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
