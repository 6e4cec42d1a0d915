// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/internal/hint"
)

// Worker starts processes that do what may end a process: Argv is the command of one,
// which calls Work. The zero Worker cannot be used.
type Worker struct {
	Argv []string
}

// request is what a worker is asked to do. One of the fields is set.
type request struct {
	Status  *fileRequest    `json:"status,omitempty"`
	Last    *fileRequest    `json:"last,omitempty"`
	Verify  *fileRequest    `json:"verify,omitempty"`
	Restore *restoreRequest `json:"restore,omitempty"`
}

type fileRequest struct {
	File string `json:"file"`
	// Scratch is a directory in which a restored one is made.
	Scratch string `json:"scratch,omitempty"`
	// Keys are those of which the values are wanted.
	Keys []string `json:"keys,omitempty"`
	// Encryption is an EncryptionConfiguration, to decrypt objects with.
	Encryption []byte `json:"encryption,omitempty"`
}

type restoreRequest struct {
	File    string  `json:"file"`
	Options Restore `json:"options"`
}

// response is what a worker answers.
type response struct {
	Status   *Status `json:"status,omitempty"`
	Revision int64   `json:"revision,omitempty"`
	Proof    *Proof  `json:"proof,omitempty"`
	// Values are those of the keys that were asked for and are there.
	Values   map[string][]byte `json:"values,omitempty"`
	Error    string            `json:"error,omitempty"`
	Hint     string            `json:"hint,omitempty"`
	Damaged  bool              `json:"damaged,omitempty"`
	Unproven bool              `json:"unproven,omitempty"`
}

// goodbye is how long a worker has to let go of its streams once it was killed.
const goodbye = 10 * time.Second

// ask has a worker do something with a file. The error is ErrDamaged if the file was the
// end of the worker. When ctx ends the worker is killed.
func (w Worker) ask(ctx context.Context, file string, r request) (*response, error) {
	question, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("ask about %s: %w", file, err)
	}
	cmd := exec.CommandContext(ctx, w.Argv[0], w.Argv[1:]...) //nolint:gosec // refit itself
	cmd.WaitDelay = goodbye
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// The pipe stays open as long as this process is there: a worker ends with it.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a process that reads %s: %w", file, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process that reads %s: %w", file, err)
	}
	_, writeErr := stdin.Write(append(question, '\n'))
	ended := cmd.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("read %s: %w", file, context.Cause(ctx))
	}
	answer := &response{}
	if json.Unmarshal(stdout.Bytes(), answer) != nil {
		if ended == nil {
			ended = errors.Join(errors.New("it said nothing"), writeErr)
		}
		return nil, fmt.Errorf("%s: %w: the process that read it came to its end (%w): %s", file, ErrDamaged, ended, lastWords(stderr.String()))
	}
	if err := answer.err(); err != nil {
		return nil, err
	}
	return answer, nil
}

// remoteError is an error of a worker.
type remoteError struct {
	says string
	is   error // nil, ErrDamaged or ErrUnproven
}

func (e *remoteError) Error() string { return e.says }
func (e *remoteError) Unwrap() error { return e.is }

func (r *response) err() error {
	if r.Error == "" {
		return nil
	}
	e := &remoteError{says: r.Error}
	switch {
	case r.Damaged:
		e.is = ErrDamaged
	case r.Unproven:
		e.is = ErrUnproven
	}
	if r.Hint != "" {
		return hint.Wrap(e, "%s", r.Hint)
	}
	return e
}

// lastWords is the line that tells most of what a process wrote when it ended: the one
// that names a panic, or the first.
func lastWords(s string) string {
	var first string
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if first == "" {
			first = line
		}
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			return line
		}
	}
	return first
}

// Work does what the process that has in and out as its streams is asked to do. It returns
// once the answer is written, or when in ends: then the process has to end, too. Its error
// says that there was nobody to answer.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	var r request
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&r); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // it ends when whoever asked does
		_, _ = io.Copy(io.Discard, decoder.Buffered())
		_, _ = io.Copy(io.Discard, in)
		cancel(errors.New("whoever asked is gone"))
	}()
	done := make(chan response, 1)
	go func() {
		answer, err := r.do(ctx)
		if err != nil {
			answer.Error, answer.Hint = err.Error(), hint.Of(err)
			answer.Damaged, answer.Unproven = errors.Is(err, ErrDamaged), errors.Is(err, ErrUnproven)
		}
		done <- answer
	}()
	select {
	case answer := <-done:
		return json.NewEncoder(out).Encode(answer)
	case <-ctx.Done(): // reading a file knows of no context, and ends with the process
		return context.Cause(ctx)
	}
}

// do does it. A panic is taken for damage; one in another goroutine ends the process,
// which means the same to whoever asked.
func (r request) do(ctx context.Context) (answer response, err error) {
	debug.SetPanicOnFault(true) // pages that are not there
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: reading it failed: %v", ErrDamaged, p)
		}
	}()
	switch {
	case r.Status != nil:
		answer.Status, answer.Values, err = lookAt(r.Status.File, r.Status.Keys)
	case r.Last != nil:
		answer.Revision, err = lastRevision(r.Last.File)
	case r.Verify != nil:
		answer.Proof, err = prove(ctx, *r.Verify)
	case r.Restore != nil:
		err = restore(r.Restore.File, r.Restore.Options)
	default:
		err = errors.New("nothing was asked")
	}
	return answer, err
}

// Status reads the file of a snapshot, or a copy of etcd's database. The error is
// ErrDamaged if it is none, or not whole; ErrNotFile, or a *fs.PathError, if it cannot be read.
func (w Worker) Status(ctx context.Context, file string) (*Status, error) {
	status, _, err := w.Look(ctx, file)
	return status, err
}

// Look is Status, and returns the values of those keys that are there.
func (w Worker) Look(ctx context.Context, file string, keys ...string) (*Status, map[string][]byte, error) {
	if err := isFile(file); err != nil {
		return nil, nil, err
	}
	answer, err := w.ask(ctx, file, request{Status: &fileRequest{File: file, Keys: keys}})
	if err != nil {
		return nil, nil, err
	}
	return answer.Status, answer.Values, nil
}

// lookAt is what a worker does.
func lookAt(file string, keys []string) (*Status, map[string][]byte, error) {
	values := map[string][]byte{}
	status, err := readStatus(file, func(key, value []byte) {
		if slices.Contains(keys, string(key)) {
			values[string(key)] = bytes.Clone(value)
		}
	})
	return status, values, err
}
