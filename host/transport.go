// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Transport runs single commands as root on one machine. Over makes a Machine of it.
type Transport interface {
	// Do runs a command and returns its exit status, -1 if a signal ended it. Its
	// errors are those of Machine.Exec. When ctx ends it returns, and does not write
	// to the command's streams any more; the command may go on.
	Do(ctx context.Context, c Command) (code int, err error)
	// Dial is Machine.Dial.
	Dial(ctx context.Context, address string) (net.Conn, error)
	Close() error
}

// Command is what a Transport runs. It was checked before.
type Command struct {
	// Argv has the command's environment in it already.
	Argv []string
	// Stdin may be nil, for an empty input.
	Stdin io.Reader
	// Stdout and Stderr are written to by one goroutine each, at the same time.
	Stdout, Stderr io.Writer
}

// over is a Machine in terms of a Transport.
type over struct {
	Transport
	env []string
}

// Over returns the Machine that t leads to. The variables env ("NAME=value") are in
// the environment of what Run runs.
func Over(t Transport, env []string) Machine {
	return &over{Transport: t, env: env}
}

func (o *over) Exec(ctx context.Context, argv []string, opts ExecOptions) (Result, error) {
	if err := errors.Join(CheckArgv(argv), CheckEnv(opts.Env)); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	var stdout, stderr tail
	var lines lineOrder
	out, errs := lines.stream(&stdout, opts.Output), lines.stream(&stderr, opts.Output)
	code, err := o.Do(ctx, Command{Argv: withEnvironment(argv, opts.Env), Stdin: opts.Stdin, Stdout: out, Stderr: errs})
	if err != nil {
		return Result{}, err
	}
	out.end()
	errs.end()
	return Result{Code: code, Stdout: stdout.bytes, Stderr: stderr.bytes, Cut: stdout.cut + stderr.cut}, nil
}

// tail keeps the last MaxOutput bytes that are written to it.
type tail struct {
	bytes []byte
	cut   int64
}

func (t *tail) Write(p []byte) (int, error) {
	t.bytes = append(t.bytes, p...)
	// Moved seldom: each byte is copied a few times at most, however much comes.
	if len(t.bytes) > 2*MaxOutput {
		t.trim()
	}
	return len(p), nil
}

func (t *tail) trim() {
	if over := len(t.bytes) - MaxOutput; over > 0 {
		t.cut += int64(over)
		t.bytes = append(t.bytes[:0], t.bytes[over:]...)
	}
}

// lineOrder hands out the lines of two streams one at a time.
type lineOrder struct{ mu sync.Mutex }

// stream is one of the two: what is written is kept, and its lines are handed out.
type stream struct {
	keep  *tail
	lines *lineWriter
}

func (l *lineOrder) stream(keep *tail, out Output) *stream {
	s := &stream{keep: keep}
	if out != nil {
		s.lines = &lineWriter{out: func(line string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			out(line)
		}}
	}
	return s
}

func (s *stream) Write(p []byte) (int, error) {
	if s.lines != nil {
		_, _ = s.lines.Write(p) // never fails
	}
	return s.keep.Write(p)
}

func (s *stream) end() {
	s.keep.trim()
	if s.lines != nil {
		s.lines.Close()
	}
}

const (
	// noFile is the exit status of readScript when there is no such file.
	noFile = 66 // EX_NOINPUT of sysexits.h
	// readScript prints the file $1, at most $2 bytes of it.
	readScript = `[ -e "$1" ] || [ -L "$1" ] || exit 66; exec head -c "$2" -- "$1"`
	// writeScript puts its input of $3 bytes at $1 in the directory $2 with mode $4.
	// An input that broke off is not taken for the file.
	writeScript = `set -eu
umask 077
tmp=$(mktemp "$2/.refit-XXXXXXXXXX")
trap 'rm -f -- "$tmp"' EXIT
cat >"$tmp"
size=$(wc -c <"$tmp")
[ "$size" -eq "$3" ] || { echo "only $size of $3 bytes arrived" >&2; exit 65; }
chown 0:0 "$tmp"
chmod "$4" "$tmp"
sync "$tmp"
mv -f -T -- "$tmp" "$1"
sync "$2"`
)

func (o *over) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if err := checkPath(name); err != nil {
		return nil, err
	}
	var stdout bytes.Buffer
	var stderr tail
	argv := []string{"sh", "-c", readScript, "sh", name, strconv.Itoa(MaxFile + 1)}
	code, err := o.Do(ctx, Command{Argv: withEnvironment(argv, nil), Stdout: &stdout, Stderr: &stderr})
	switch {
	case err != nil:
	case code == noFile:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case code != 0:
		err = &FailedError{Code: code, Says: lastWords(stderr.bytes)}
	case stdout.Len() > MaxFile:
		err = fmt.Errorf("it has more than %d MiB", MaxFile>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	return stdout.Bytes(), nil
}

func (o *over) WriteFile(ctx context.Context, name string, data []byte, mode fs.FileMode) error {
	if err := checkPath(name); err != nil {
		return err
	}
	if mode != mode.Perm() {
		return fmt.Errorf("write %q: mode %s has more than permissions", name, mode)
	}
	argv := []string{"sh", "-c", writeScript, "sh", name, path.Dir(name), strconv.Itoa(len(data)), fmt.Sprintf("%04o", mode)}
	var stderr tail
	code, err := o.Do(ctx, Command{Argv: withEnvironment(argv, nil), Stdin: bytes.NewReader(data), Stdout: io.Discard, Stderr: &stderr})
	if err == nil && code != 0 {
		err = &FailedError{Code: code, Says: lastWords(stderr.bytes)}
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", name, err)
	}
	return nil
}

// checkPath refuses what would depend on where a command happens to start.
func checkPath(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%q is no absolute path of a file, in its shortest form", name)
	}
	return nil
}

// bootIDFile is where the kernel tells the ID of its boot.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

func (o *over) BootID(ctx context.Context) (string, error) {
	data, err := o.ReadFile(ctx, bootIDFile)
	if err != nil {
		return "", fmt.Errorf("find the machine's boot ID: %w", err)
	}
	id := strings.TrimSpace(string(data))
	if id == "" {
		return "", fmt.Errorf("find the machine's boot ID: %s is empty", bootIDFile)
	}
	return id, nil
}
