// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package twintest gives tests a cluster of their own.
package twintest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin"
)

// upDeadline and downDeadline guard against a hang; a twin is up in seconds.
const (
	upDeadline   = 5 * time.Minute
	downDeadline = 2 * time.Minute
)

// Start brings a twin up for the test and takes it down when the test ends;
// it also ends when the test process does. Its data is in a directory of the
// test. If the test fails, the ends of the components' logs are logged. Without
// refit-twin the test fails: run `make build`.
func Start(t testing.TB, opts twin.Options) *twin.Twin {
	t.Helper()
	FindBinary(t)
	if opts.StateDir == "" {
		opts.StateDir = t.TempDir()
	}
	opts.Tied = true
	ctx, cancel := context.WithTimeout(context.Background(), upDeadline)
	defer cancel()
	tw, err := twin.Up(ctx, opts, func(line string) { t.Log("twin: " + line) })
	if err != nil {
		t.Fatalf("twin: %v\nhint: %s", err, hint.Of(err))
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, component := range tw.Components() {
				t.Logf("the end of the twin's %s log:\n%s", component, tw.LogTail(component))
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), downDeadline)
		defer cancel()
		if err := tw.Down(ctx); err != nil && !errors.Is(err, twin.ErrNotFound) { // the test may have done it
			t.Errorf("twin: %v", err)
		}
	})
	return tw
}

// Client returns a clientset with the twin's administrator's rights that is
// not limited on its own side.
func Client(t testing.TB, tw *twin.Twin) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(Config(t, tw))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Config returns the configuration of Client.
func Config(t testing.TB, tw *twin.Twin) *rest.Config {
	t.Helper()
	cfg, err := tw.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS = -1
	return cfg
}

// FindBinary lets twins find refit-twin: the one in bin/ of the source tree
// that the test runs in, unless REFIT_TWIN names one. It fails the test if
// there is none. (Start calls it.)
func FindBinary(t testing.TB) {
	t.Helper()
	if os.Getenv(twin.BinaryEnv) != "" {
		return
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(mod), "module refit.dev/refit\n") {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run inside refit's source tree")
		}
	}
	path := filepath.Join(dir, "bin", "refit-twin")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("this test needs an embedded control plane: run `make build`, which makes %s", path)
	}
	// Not t.Setenv: tests may run in parallel, and all of them want the same.
	if err := os.Setenv(twin.BinaryEnv, path); err != nil {
		t.Fatal(err)
	}
}
