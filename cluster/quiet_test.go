// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

// What client-go logs is seen by who wants to see what is for debugging, errors too:
// logr passes them on without asking whether anybody does.
func TestQuiet(t *testing.T) {
	for level, want := range map[slog.Level]int{slog.LevelInfo: 0, slog.LevelDebug: 2} {
		var b bytes.Buffer
		log := logr.FromSlogHandler(quiet{slog.NewTextHandler(&b, &slog.HandlerOptions{Level: level})})
		log.Info("read")
		log.WithName("x").Error(errors.New("context canceled"), "Unexpected error when reading response body")
		if lines := strings.Count(b.String(), "\n"); lines != want {
			t.Errorf("%s: %d lines, want %d:\n%s", level, lines, want, b.String())
		}
	}
}
