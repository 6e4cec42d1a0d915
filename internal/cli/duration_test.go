// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10m": 10 * time.Minute, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "0d1s": time.Second, "-5m": -5 * time.Minute, "0": 0,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "1d-1h", "1d1d", "soon", "300", "65535d2562047h", "99999d", "1h1d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%s: %s", text, got)
		}
	}
}
