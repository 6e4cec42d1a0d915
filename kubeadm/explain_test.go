// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestExplain is what is made of the output of commands that failed.
func TestExplain(t *testing.T) {
	datadriven.RunTest(t, "testdata/explain", func(t *testing.T, d *datadriven.TestData) string {
		f := explain(StepName(d.Cmd), "exited with status 1", strings.Split(d.Input, "\n"))
		return fmt.Sprintf("%s: %s\nhint: %s\n", f.Kind, f.Cause, f.Hint)
	})
}
