// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"slices"
	"testing"
)

// What kubeadm writes reaches who reads it without the colours of its preflight checks.
func TestTailHasNoColours(t *testing.T) {
	var told []string
	output := &tail{out: func(line string) { told = append(told, line) }}
	output.add("\x1b[0;37mOS\x1b[0m: \x1b[0;32mLinux\x1b[0m")
	if want := []string{"OS: Linux"}; !slices.Equal(told, want) || !slices.Equal(output.shown(), want) {
		t.Errorf("told %q, shown %q", told, output.shown())
	}
}
