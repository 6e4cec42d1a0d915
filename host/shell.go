// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

const (
	// shellScript runs the shell command $2 in a process group of its own, whose
	// number it tells first, behind the word $1, so that it can be ended later.
	shellScript = `exec setsid -w sh -c 'echo "$0 $$"; exec sh -c "$1"' "$1" "$2"`
	// stopScript ends the process group $1 and waits until it has: asked at first,
	// killed after three seconds. (dash reads no "--" behind "-TERM".)
	stopScript = `kill -s TERM -- "-$1" 2>/dev/null || exit 0
for i in 1 2 3 4 5 6; do kill -s 0 -- "-$1" 2>/dev/null || exit 0; sleep 0.5; done
kill -s KILL -- "-$1"`
	// stopLimit bounds the whole of it, over a connection that may be dead.
	stopLimit = 15 * time.Second
)

// Run runs a shell command of the operator's as root. When ctx ends, its process
// group is ended over the same connection; the error is then ctx's cause.
func (o *over) Run(ctx context.Context, command string, out Output) error {
	word := "refit-" + rand.Text()
	var lines lineOrder
	first := &firstLine{want: word, rest: lines.stream(&tail{}, out)}
	errs := lines.stream(&tail{}, out)
	argv := []string{"sh", "-c", shellScript, "sh", word, command}
	if err := CheckArgv(argv); err != nil {
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	code, err := o.Do(ctx, Command{Argv: withEnvironment(argv, o.env), Stdout: first, Stderr: errs})
	if ctx.Err() != nil && err != nil {
		return o.stop(ctx, first.group(), err)
	}
	if err != nil {
		return fmt.Errorf("run the command: %w", err)
	}
	first.rest.end()
	errs.end()
	if code != 0 {
		return &ExitError{Code: code}
	}
	return nil
}

// stop ends a command that was left alone because ctx ended.
func (o *over) stop(ctx context.Context, group int, err error) error {
	if group == 0 {
		return fmt.Errorf("the command was left alone, it may go on: %w", err)
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	code, stopping := o.Do(limited, Command{
		Argv:   withEnvironment([]string{"sh", "-c", stopScript, "sh", strconv.Itoa(group)}, nil),
		Stdout: io.Discard, Stderr: io.Discard,
	})
	if stopping != nil || code != 0 {
		return fmt.Errorf("the command was left alone, and could not be stopped (process group %d): %w", group, err)
	}
	return fmt.Errorf("the command was stopped: %w", context.Cause(ctx))
}

// firstLine takes the line with the process group off an output. What comes before
// it, from a shell that greets, is left out.
type firstLine struct {
	want string
	rest *stream

	mu     sync.Mutex
	head   []byte
	number int
}

func (f *firstLine) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.number != 0 {
		return f.rest.Write(p)
	}
	f.head = append(f.head, p...)
	_, after, found := bytes.Cut(f.head, []byte(f.want+" "))
	if number, rest, whole := bytes.Cut(after, []byte("\n")); found && whole {
		n, err := strconv.Atoi(string(number))
		if err != nil || n <= 1 { // to the groups 0 and 1 belong others
			return 0, fmt.Errorf("the shell says of its process group: %q", number)
		}
		f.number, f.head = n, nil
		if _, err := f.rest.Write(rest); err != nil {
			return 0, err
		}
	}
	if over := len(f.head) - MaxOutput; over > 0 { // it greets at great length
		f.head = f.head[over:]
	}
	return len(p), nil
}

func (f *firstLine) group() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.number
}
