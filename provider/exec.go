// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/internal/hint"
)

const (
	// answerLimit is how many bytes of a command's standard output are taken: a list of
	// 5,000 machines takes a tenth of it. Of the standard error the end is kept.
	answerLimit = 8 << 20
	errorTail   = 2 << 10
	// endGrace is how long a command has to end after it was asked to.
	endGrace = 3 * time.Second
	// lockPoll is how often a lock is tried again; the system offers no wait that a context ends.
	lockPoll = 100 * time.Millisecond
	// exitTemporary is EX_TEMPFAIL of sysexits.h.
	exitTemporary = 75
)

// Exec is the Provider of an operator's commands.
type Exec struct {
	Config Config
	// Dir is a directory for locks, which need not exist: a command holds the one of its machine as
	// long as it runs, so that one that outlives a killed refit is waited for.
	Dir string
	// Plane is the file of the lock that a command has which raises the control plane, "" for none. It is
	// that of a cluster: also the command of another run is waited for, one that was given up.
	Plane string
	Clock clock.WithTicker
}

// question is what a command finds on its standard input, answer what it writes.
type question struct {
	Version int    `json:"version"` // of this format
	Action  string `json:"action"`
	Run     string `json:"run,omitempty"`
	// Order is that of a create, Machine the one to delete, Upgrade what an upgrade is about.
	Order   *Order   `json:"order,omitempty"`
	Machine *Machine `json:"machine,omitempty"`
	Upgrade *Raise   `json:"upgrade,omitempty"`
}

type answer struct {
	Machine  *Machine   `json:"machine,omitempty"`
	Machines *[]Machine `json:"machines,omitempty"`
}

const formatVersion = 1

// List runs the command list.
func (x *Exec) List(ctx context.Context) ([]Machine, error) {
	a, err := x.ask(ctx, x.Config.List, "", question{Action: "list"})
	if err != nil {
		return nil, fmt.Errorf("list the machines: %w", err)
	}
	if a.Machines == nil || a.Machine != nil {
		return nil, fmt.Errorf("list the machines: %w", &BadAnswerError{errors.New(`want {"machines": [...]}`)})
	}
	if err := CheckList(*a.Machines); err != nil {
		return nil, fmt.Errorf("list the machines: %w", err)
	}
	return *a.Machines, nil
}

// Create runs the command create.
func (x *Exec) Create(ctx context.Context, o Order) (Machine, error) {
	if !keyPattern.MatchString(o.Key) {
		return Machine{}, fmt.Errorf("create a machine: %q is not a key", o.Key)
	}
	a, err := x.ask(ctx, x.Config.Create, "key "+o.Key, question{Action: "create", Run: o.Run, Order: &o})
	switch {
	case err != nil:
	case a.Machine == nil || a.Machines != nil:
		err = &BadAnswerError{errors.New(`want {"machine": {...}}`)}
	case a.Machine.Key != o.Key:
		err = &BadAnswerError{fmt.Errorf("a machine with the key %q, and %s was asked for", a.Machine.Key, o.Key)}
	default:
		err = a.Machine.Check()
	}
	if err != nil {
		return Machine{}, fmt.Errorf("create the machine %s: %w", o.Key, err)
	}
	return *a.Machine, nil
}

// Delete runs the command delete.
func (x *Exec) Delete(ctx context.Context, run string, m Machine) error {
	if err := m.Check(); err != nil {
		return fmt.Errorf("delete a machine: %w", err)
	}
	if _, err := x.ask(ctx, x.Config.Delete, "id "+m.ID, question{Action: "delete", Run: run, Machine: &m}); err != nil {
		return fmt.Errorf("delete %s: %w", m, err)
	}
	return nil
}

// Await takes the lock of a create, and gives it back.
func (x *Exec) Await(ctx context.Context, key string) error {
	return x.await(ctx, "key "+key, x.Config.Create.Limit(), func() {})
}

// await calls busy once if there is something to wait for.
func (x *Exec) await(ctx context.Context, about string, limit time.Duration, busy func()) error {
	if x.lockFile(about) == "" {
		return nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, limit, errTime)
	defer cancel()
	lock, err := x.lock(limited, about, busy)
	if err != nil {
		return err
	}
	return lock.Close()
}

// ask runs a command. about is what no two commands may be about at a time; "" for one that
// changes nothing.
func (x *Exec) ask(ctx context.Context, c Command, about string, q question) (a answer, err error) {
	q.Version = formatVersion
	input, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.Limit(), errTime)
	defer cancel()
	cmd := exec.CommandContext(limited, c.Argv[0], c.Argv[1:]...)
	if x.lockFile(about) != "" {
		lock, err := x.lock(limited, about, func() {})
		if err != nil {
			return a, err
		}
		defer lock.Close()
		cmd.ExtraFiles = []*os.File{lock} // it is locked until the command ends, too
	}
	output, tail := &bounded{most: answerLimit}, &bounded{most: errorTail + redactMargin, last: true}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), output, tail
	cmd.Env = append(os.Environ(), "REFIT_ACTION="+q.Action, "REFIT_RUN="+q.Run)
	// A Ctrl-C at refit's terminal does not reach it: refit decides what ends when.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = endGrace
	err = cmd.Run()
	if err != nil && limited.Err() != nil {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // children of it may have ignored the request
		}
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		return a, hint.Wrap(fmt.Errorf("%s did not end within %s and was stopped%s", c.Argv[0], c.Limit(), said(tail, q)),
			"see what it waits for, or give it longer: timeout in the provider's file")
	}
	if errors.Is(err, exec.ErrWaitDelay) { // it has ended; what it left in the background has not
		err = nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%s ended with %s%s", c.Argv[0], exit.ProcessState, said(tail, q))
		if exit.ExitCode() == exitTemporary {
			err = &TemporaryError{err}
		}
		return a, err
	}
	if err != nil {
		return a, fmt.Errorf("run %s: %w", c.Argv[0], err)
	}
	if output.cut {
		return a, &BadAnswerError{fmt.Errorf("it is longer than %d MiB", answerLimit>>20)}
	}
	if q.Action == "delete" || q.Action == "upgrade" {
		return a, nil // what it says is of no use: a list will tell, or the API server
	}
	err = decode(output.data, &a)
	return a, err
}

var errTime = errors.New("its time was over")

// decode reads the one JSON object of an answer, strictly.
func decode(data []byte, into *answer) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &BadAnswerError{fmt.Errorf("not the JSON that was asked for: %w", err)}
	}
	if d.More() {
		return &BadAnswerError{errors.New("something follows the JSON")}
	}
	return nil
}

// said is the end of what a command wrote to its standard error, without secrets.
func said(tail *bounded, q question) string {
	secret := ""
	if q.Order != nil && q.Order.Join != nil {
		_, secret, _ = strings.Cut(q.Order.Join.Token, ".") // what stands before is public
	}
	text := strings.Join(strings.Fields(shown(tail.data, secret, errorTail)), " ")
	if text == "" {
		return ""
	}
	return ": " + text
}
