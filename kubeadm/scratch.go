// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"fmt"
	"strings"

	"refit.dev/refit/host"
)

// scratch has use work in a directory of its own on the host, for what, and removes it.
func (r *reader) scratch(ctx context.Context, what string, use func(dir string) error) (err error) {
	prefix := "/tmp/refit-" + what + "."
	dir, err := r.text(ctx, "mktemp", "--directory", prefix+"XXXXXXXXXX")
	if err != nil {
		return err
	}
	dir = strings.TrimSpace(dir)
	if !strings.HasPrefix(dir, prefix) {
		return fmt.Errorf("mktemp answered %.80q", dir)
	}
	defer func() {
		argv := []string{"rm", "--recursive", "--force", "--", dir}
		last, cancel := limited(context.WithoutCancel(ctx), argv)
		defer cancel()
		result, removeErr := r.m.Exec(last, argv, host.ExecOptions{})
		if removeErr = host.Succeed(result, removeErr); removeErr != nil && err == nil {
			err = fmt.Errorf("remove %s: %w", dir, removeErr)
		}
	}()
	return use(dir)
}
