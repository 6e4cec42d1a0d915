// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Nobody writes to the pipe: Ctrl-C has to end the wait for the plan.
func TestReadPlanIsInterrupted(t *testing.T) {
	in, keyboard := io.Pipe()
	defer keyboard.Close()
	a := &app{IOStreams: genericiooptions.IOStreams{In: in}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.readPlan(ctx, "-")
	if err == nil || !strings.Contains(err.Error(), "interrupted") || exitCode(err) != exitUnfinished {
		t.Errorf("got %v", err)
	}
}
