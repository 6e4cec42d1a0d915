// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
)

// hung is a machine on which no command ends.
type hung struct{ *hosttest.Machine }

func (hung) Exec(ctx context.Context, _ []string, _ host.ExecOptions) (host.Result, error) {
	<-ctx.Done()
	return host.Result{}, fmt.Errorf("the command was left alone: %w", context.Cause(ctx))
}

func TestALookThatHangsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := Observe(t.Context(), hung{hosttest.New(t, "node-1")}, Query{Parts: PartPackages})
		if err == nil || !strings.Contains(err.Error(), "run find") || !strings.Contains(err.Error(), "did not end within 2m0s") {
			t.Errorf("got %v", err)
		}
	})
}
