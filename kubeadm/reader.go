// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"refit.dev/refit/host"
)

// notFound is the exit status of env(1), which starts every command of refit's, when
// there is no such program.
const notFound = 127

// reader runs commands that only look, and remembers what could not be looked at.
type reader struct {
	m    host.Machine
	gaps []string
}

// A command that looks has so long: one that hangs on a dead mount or a stuck runtime has
// a connection that is well. Those that ask repositories may have to load large lists.
const (
	lookLimit = 2 * time.Minute
	loadLimit = 10 * time.Minute
)

// limited ends ctx when argv has had its time.
func limited(ctx context.Context, argv []string) (context.Context, context.CancelFunc) {
	limit := lookLimit
	if argv[0] == "apt-get" || argv[0] == "dnf" {
		limit = loadLimit
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not end within %s", limit))
}

// run runs argv. A failure of the command itself is left to the caller; one of the
// connection is an error, and so is an output that was too long to be whole.
func (r *reader) run(ctx context.Context, argv ...string) (host.Result, error) {
	ctx, cancel := limited(ctx, argv)
	defer cancel()
	result, err := r.m.Exec(ctx, argv, host.ExecOptions{})
	if err != nil {
		return host.Result{}, fmt.Errorf("run %s: %w", argv[0], err)
	}
	if result.Cut > 0 {
		return host.Result{}, fmt.Errorf("run %s: it wrote %d bytes too many to be read whole", argv[0], result.Cut)
	}
	return result, nil
}

// text runs argv, which has to succeed, and returns what it wrote.
func (r *reader) text(ctx context.Context, argv ...string) (string, error) {
	result, err := r.run(ctx, argv...)
	if err == nil {
		err = host.Succeed(result, nil)
		if err != nil {
			err = fmt.Errorf("run %s: %w", argv[0], err)
		}
	}
	return string(result.Stdout), err
}

// maybe runs argv and returns what it wrote; if the program is missing or fails, that
// is a gap named what, and ok is false.
func (r *reader) maybe(ctx context.Context, what string, argv ...string) (text string, ok bool, err error) {
	result, err := r.run(ctx, argv...)
	switch {
	case err != nil:
		return "", false, err
	case result.Code == notFound:
		r.gap("%s: %s is not installed", what, argv[0])
		return "", false, nil
	case result.Code != 0:
		r.gap("%s: %s: %v", what, argv[0], host.Succeed(result, nil))
		return "", false, nil
	}
	return string(result.Stdout), true, nil
}

func (r *reader) gap(format string, args ...any) {
	r.gaps = append(r.gaps, fmt.Sprintf(format, args...))
}

// file returns the content of a file, and whether there is one.
func (r *reader) file(ctx context.Context, path string) (text string, found bool, err error) {
	data, err := r.m.ReadFile(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read %s: %w", path, err)
	}
	return string(data), true, nil
}

// find returns what find(1) prints for the directories, files or patterns; paths that
// do not exist are left out.
func (r *reader) find(ctx context.Context, argv ...string) ([]string, error) {
	result, err := r.run(ctx, append([]string{"find"}, argv...)...)
	if err != nil {
		return nil, err
	}
	// Its status is 1 if one of the paths is missing, and if it may not read one:
	// as root there is only the former.
	if result.Code > 1 {
		return nil, fmt.Errorf("run find: %w", host.Succeed(result, nil))
	}
	return lines(string(result.Stdout)), nil
}

// lines returns the lines of text that are not blank, without space around them.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}
