// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"refit.dev/refit/provider"
)

// What machine provider writes is what refit reads, and says where the lab is whatever refit's own
// state directory is.
func TestTheProviderFile(t *testing.T) {
	state := t.TempDir()
	t.Setenv("REFIT_STATE_DIR", state)
	var out bytes.Buffer
	if err := machine(t.Context(), []string{"provider", "--name", "x"}, strings.NewReader(""), &out, io.Discard, nil); err != nil {
		t.Fatal(err)
	}
	c, err := provider.ReadConfig(&out)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Delete.Argv; c.Join != provider.JoinKubeadm || !slices.Equal(got[:2], []string{"env", "REFIT_STATE_DIR=" + state}) || !slices.Equal(got[3:], []string{"machine", "delete", "--name", "x"}) {
		t.Errorf("%+v", c)
	}
}

func TestQuestionsThatAreNoneAreRefused(t *testing.T) {
	t.Setenv("REFIT_STATE_DIR", t.TempDir())
	for _, tt := range []struct{ verb, question, want string }{
		{"make", `{}`, "want one of: create, delete, list, provider"},
		{"list", ``, "read the question"},
		{"list", `{"version": 2, "action": "list"}`, "of version 2"},
		{"delete", `{"version": 1, "action": "list"}`, `is a "list"`},
		{"delete", `{"version": 1, "action": "delete"}`, "does not say what to delete"},
		{"create", `{"version": 1, "action": "create"}`, "does not say what to create"},
		{"create", `{"version": 1, "action": "create", "order": {"key": "k", "version": "v1.37.2"}}`, "does not say how the machine joins"},
		{"create", `{"version": 1, "action": "create", "order": {"key": "../k", "version": "v1.37.2", "join": {"server": "a:1"}}}`, `name "../k"`},
		{"list", `{"version": 1, "action": "list"}`, "there is no such lab"},
	} {
		var out bytes.Buffer
		err := machine(t.Context(), []string{tt.verb, "--name", "none"}, strings.NewReader(tt.question), &out, io.Discard, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
			t.Errorf("%s %s: got %v, %q, want an error with %q", tt.verb, tt.question, err, out.String(), tt.want)
		}
	}
}
