// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"fmt"
	"path"

	"refit.dev/refit/host"
)

// files are those of one machine.
type files struct{ m host.Machine }

// text runs a program that has to succeed, and returns what it wrote.
func (f files) text(ctx context.Context, argv ...string) (string, error) {
	result, err := f.m.Exec(ctx, argv, host.ExecOptions{})
	if err := host.Succeed(result, err); err != nil {
		return "", fmt.Errorf("run %s: %w", argv[0], err)
	}
	return string(result.Stdout), nil
}

func (f files) do(ctx context.Context, argv ...string) error {
	_, err := f.text(ctx, argv...)
	return err
}

// exists tells whether there is something at a path.
func (f files) exists(ctx context.Context, p string) (bool, error) {
	result, err := f.m.Exec(ctx, []string{"test", "-e", p}, host.ExecOptions{})
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", p, err)
	}
	if result.Code != 0 && result.Code != 1 {
		return false, fmt.Errorf("look for %s: %w", p, host.Succeed(result, nil))
	}
	return result.Code == 0, nil
}

// move renames from to to, which must not be there, on one file system, and sees that it
// lasts. It is done already if to is there and from is not.
func (f files) move(ctx context.Context, from, to string) error {
	source, err := f.exists(ctx, from)
	if err != nil {
		return err
	}
	target, err := f.exists(ctx, to)
	switch {
	case err != nil:
		return err
	case !source && target:
		return nil
	case source && target:
		return fmt.Errorf("both %s and %s are there, and one should be: somebody has put one of them back; see which is right and remove the other", from, to)
	case !source:
		return fmt.Errorf("neither %s nor %s is there", from, to)
	}
	// coreutils: without -T a directory that appears at to would take it in.
	if err := f.do(ctx, "mv", "--no-clobber", "--no-target-directory", from, to); err != nil {
		return fmt.Errorf("rename %s: %w", from, err)
	}
	if err := f.do(ctx, "sync", path.Dir(from), path.Dir(to)); err != nil {
		return err
	}
	still, err := f.exists(ctx, from)
	if err == nil && still {
		err = fmt.Errorf("%s could not be renamed to %s", from, to)
	}
	return err
}
