// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"refit.dev/refit/internal/hint"
)

const (
	startDeadline = 3 * time.Minute // a control plane that is not ready by then will not be
	readyPoll     = 50 * time.Millisecond
	stopDeadline  = 30 * time.Second // from SIGTERM to SIGKILL of the supervisor
	portAttempts  = 5
	tailLines     = 15 // of a log, in an error
)

// BinaryEnv names the environment variable that says where refit-twin is.
const BinaryEnv = "REFIT_TWIN"

var (
	errPortTaken = errors.New("a port of the twin was taken")
	// errEnded says that a supervisor that somebody else has started is no more.
	errEnded = errors.New("the twin's supervisor ended meanwhile")
)

// supervisorStatus is status.json.
type supervisorStatus struct {
	PID      int           `json:"pid"`
	Started  time.Time     `json:"started"`
	Children []ChildStatus `json:"children"`
}

// ChildStatus is how a component of a twin is.
type ChildStatus struct {
	Name string `json:"name"`
	PID  int    `json:"pid,omitempty"`
	// State is waiting, starting, ready, backoff (died, will be started again) or stopped.
	State    string `json:"state"`
	Restarts int    `json:"restarts"`
	LastExit string `json:"lastExit,omitempty"`
}

// binary finds refit-twin: $REFIT_TWIN, beside the running program, in PATH.
func binary() (string, error) {
	if path := os.Getenv(BinaryEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", hint.Wrap(fmt.Errorf("%s: %w", BinaryEnv, err), "let it name the refit-twin program, or unset it")
		}
		return filepath.Abs(path)
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		path := filepath.Join(filepath.Dir(exe), "refit-twin")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("refit-twin")
	if err != nil {
		return "", hint.Wrap(errors.New("the program refit-twin, which holds the embedded control plane, is neither beside refit nor in PATH"),
			"run `make build` in refit's source, or let %s name it", BinaryEnv)
	}
	return filepath.Abs(path)
}

// spawn starts the supervisor and returns without waiting for anything.
func (t *Twin) spawn(ctx context.Context, bin string, tied bool) error {
	output, err := os.OpenFile(t.path("logs", "supervisor.err"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("start the twin's supervisor: %w", err)
	}
	defer output.Close()
	// It lives longer than ctx, and than this process.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), bin, "supervise", "--dir", t.dir)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = detached()
	// It needs a moment until it holds a lock of its own. Should this process be
	// killed meanwhile, the lock that it inherits tells that it is there.
	running, err := shareLock(t.path("run.lock"))
	if err == nil && running == nil {
		err = errors.New("somebody else holds its run.lock")
	}
	if err != nil {
		return fmt.Errorf("start the twin's supervisor: %w", err)
	}
	defer running.Close()
	cmd.ExtraFiles = []*os.File{running}
	var hold *os.File
	if tied {
		var lifeline *os.File
		if lifeline, hold, err = os.Pipe(); err != nil {
			return fmt.Errorf("start the twin's supervisor: %w", err)
		}
		defer lifeline.Close()
		cmd.ExtraFiles = []*os.File{lifeline, running} // the first becomes descriptor 3
		cmd.Env = append(os.Environ(), "REFIT_TWIN_LIFELINE=3")
	}
	if err := cmd.Start(); err != nil {
		_ = hold.Close()
		return fmt.Errorf("start the twin's supervisor: %w", err)
	}
	ended := make(chan struct{})
	t.ended = ended
	go func() {
		_ = cmd.Wait() // status.json and the logs tell more than its exit code
		// Not earlier, and not by the garbage collector: the supervisor ends with it.
		_ = hold.Close()
		close(ended)
	}()
	return nil
}

// awaitReady waits until the API server answers and every child was started.
func (t *Twin) awaitReady(ctx context.Context, cfg *rest.Config) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	return t.awaitChildren(ctx, func(ctx context.Context) bool {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
	})
}

// awaitChildren waits until every child was started, and then for what else there is to wait for.
func (t *Twin) awaitChildren(ctx context.Context, and func(context.Context) bool) error {
	ctx, stop := t.watchOver(ctx)
	defer stop()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		st, err := t.readStatus()
		if err == nil && st.allReady() && and(ctx) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the control plane: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// watchOver returns a context that ends, with the reason, when a component of
// the twin turns out not to start or the supervisor ends, whoever has started it; call
// stop when the twin is up.
func (t *Twin) watchOver(ctx context.Context) (context.Context, func()) {
	ctx, cancelDeadline := context.WithTimeoutCause(ctx, startDeadline, fmt.Errorf("not done after %s", startDeadline))
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(readyPoll)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.ended:
				cancel(fmt.Errorf("the twin's supervisor ended:\n%s", t.tail("supervisor")))
			case <-tick.C:
				if pid, err := t.supervisorPID(); t.ended == nil && pid == 0 && err == nil {
					cancel(errEnded)
				}
				if st, err := t.readStatus(); err == nil {
					if err := t.startProblem(st); err != nil {
						cancel(err)
					}
				}
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		cancelDeadline()
		<-watched
	}
}

// startProblem returns why a start cannot work, nil while it may.
func (t *Twin) startProblem(st *supervisorStatus) error {
	for _, c := range st.Children {
		if c.Restarts == 0 {
			continue
		}
		tail := t.tail(c.Name)
		if strings.Contains(tail, "address already in use") {
			return errPortTaken
		}
		if c.Restarts >= 3 {
			return fmt.Errorf("%s does not start (%s); the end of %s:\n%s", c.Name, c.LastExit, t.path("logs", c.Name+".log"), tail)
		}
	}
	return nil
}

func (s *supervisorStatus) allReady() bool {
	for _, c := range s.Children {
		if c.State != "ready" {
			return false
		}
	}
	return len(s.Children) > 0
}

func (t *Twin) readStatus() (*supervisorStatus, error) {
	data, err := os.ReadFile(t.path("status.json"))
	if err != nil {
		return nil, err
	}
	st := &supervisorStatus{}
	return st, json.Unmarshal(data, st)
}

// tail returns the last lines of a component's log; of the supervisor what it
// could not log.
func (t *Twin) tail(component string) string {
	var out []string
	names := []string{component + ".log"}
	if component == "supervisor" {
		names = append(names, "supervisor.err")
	}
	for _, name := range names {
		out = append(out, lastLines(t.path("logs", name), tailLines)...)
	}
	return strings.Join(out, "\n")
}

func lastLines(path string, n int) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	const window = 16 << 10
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-window), io.SeekStart)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil
	}
	lines := strings.Split(string(bytes.TrimSpace(data)), "\n")
	return lines[max(0, len(lines)-n):]
}

// stop ends every process of the twin and returns when they are gone: it asks
// the supervisor, which ends the components in order; if that takes too long,
// or ctx has little left to give, it is killed, and the components with it.
func (t *Twin) stop(ctx context.Context) error {
	starting, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), stopDeadline, fmt.Errorf("not done after %s", stopDeadline))
	pid, err := t.settledPID(starting, nil)
	cancel()
	if err != nil {
		return fmt.Errorf("twin %s: %w", t.name, err)
	}
	if pid != 0 {
		if err := terminate(pid); err != nil {
			return fmt.Errorf("twin %s: end its supervisor %d: %w", t.name, pid, err)
		}
		patient, cancel := context.WithTimeout(ctx, stopDeadline)
		err := t.awaitEnd(patient)
		cancel()
		if err == nil {
			return nil
		}
		if again, _ := t.supervisorPID(); again == pid {
			_ = kill(pid)
		}
	}
	// Also when ctx has ended: a killed process goes at once, and a directory
	// must not be removed under one that lives.
	final, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopDeadline)
	defer cancel()
	if err := t.awaitEnd(final); err != nil {
		return fmt.Errorf("twin %s: processes are left after killing the supervisor %d: %w", t.name, pid, err)
	}
	return nil
}
