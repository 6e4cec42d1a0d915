// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package supervise keeps the programs of a twin running: it starts them in
// order, again when they die, and ends them in reverse order. It does not
// know what they are, that is in twin.json.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"refit.dev/refit/cmd/refit-twin/internal/machine"
)

// Run runs the twin in the directory dir until ctx ends. Files there:
//
//	twin.json        what to run, see config
//	supervisor.lock  locked exclusively while a supervisor lives, holds its pid
//	run.lock         locked shared by the supervisor and every child
//	status.json      see status
//	logs/            a log per child, and supervisor.log
func Run(ctx context.Context, dir string) error {
	cfg, err := readConfig(filepath.Join(dir, "twin.json"))
	if err != nil {
		return err
	}
	held, err := lock(filepath.Join(dir, "supervisor.lock"), syscall.LOCK_EX)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("another supervisor runs the twin in %s", dir)
	}
	if err != nil {
		return err
	}
	defer held.Close()
	if err := writePID(held); err != nil {
		return err
	}
	runLock := filepath.Join(dir, "run.lock")
	running, err := lock(runLock, syscall.LOCK_SH)
	if err != nil {
		return err
	}
	defer running.Close()

	log, err := openLog(filepath.Join(dir, "logs", "supervisor.log"))
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(log, nil))
	slog.SetDefault(logger)
	klog.SetSlogLogger(logger)

	board, err := newBoard(dir, cfg.Children, time.Now())
	if err != nil {
		return err
	}
	children, err := makeChildren(cfg, dir, runLock, board)
	if err != nil {
		return err
	}
	slog.Info("supervisor started", "pid", os.Getpid(), "children", len(children))
	superviseAll(ctx, children, func() {
		if err := machine.Run(ctx, cfg.Machines); err != nil {
			slog.Error("machine controller", "error", err)
		}
	})
	slog.Info("supervisor ends")
	return nil
}

// superviseAll starts the children in order, each once the one before it is
// ready, keeps them running until ctx ends and then ends them in reverse order.
// When all are ready it calls serve, which returns when ctx ends.
func superviseAll(ctx context.Context, children []*child, serve func()) {
	type running struct {
		stop context.CancelFunc
		done chan struct{}
	}
	var started []running
	for _, c := range children {
		if ctx.Err() != nil {
			break
		}
		childCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.keep(childCtx)
		}()
		started = append(started, running{stop, done})
		select {
		case <-c.ready:
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		serve()
	}
	<-ctx.Done()
	for _, r := range slices.Backward(started) {
		r.stop()
		<-r.done
	}
}

// makeChildren opens the logs and prepares the probes.
func makeChildren(cfg *config, dir, runLock string, board *board) ([]*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	// Nothing of the caller's environment but what Go and the shell need: a
	// proxy setting or a KUBECONFIG must not reach into the twin.
	env := []string{"HOME=" + dir, "TMPDIR=" + os.TempDir(), "PATH=" + os.Getenv("PATH"), lockEnv + "=" + runLock}
	var children []*child
	for i, c := range cfg.Children {
		log, err := openLog(filepath.Join(dir, "logs", c.Name+".log"))
		if err != nil {
			return nil, err
		}
		probe, err := newProbe(c)
		if err != nil {
			return nil, err
		}
		children = append(children, &child{
			childConfig: c, index: i, exe: exe, env: env, log: log, board: board, probe: probe,
			ready: make(chan struct{}), again: make(chan struct{}, 1),
		})
	}
	for _, c := range children {
		for _, leader := range children {
			if c.Follows != "" && c.Follows == leader.Name {
				leader.followers = append(leader.followers, c)
			}
		}
	}
	return children, nil
}

// writePID writes this process's id into the lock file that it holds: while
// the file is locked, the number in it is that of the supervisor and of no
// later process that happens to get the same one.
func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("write the pid: %w", err)
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0); err != nil {
		return fmt.Errorf("write the pid: %w", err)
	}
	return nil
}
