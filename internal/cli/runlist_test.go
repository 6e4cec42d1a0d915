// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"refit.dev/refit/run"
)

func TestWhatARunDoes(t *testing.T) {
	for want, spec := range map[string]run.Spec{
		"upgrade to v1.37.2": {Upgrade: &run.Upgrade{To: "v1.37.2"}},
		"reboot":             {Reboot: true},
		"command: date":      {Command: "date"},
	} {
		if got := act(&spec); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
