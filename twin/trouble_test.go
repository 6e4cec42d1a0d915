// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

func TestPortTakenInBetween(t *testing.T) {
	twintest.FindBinary(t)
	noticed, err := twin.StartOnTakenPort(testContext(t), t.TempDir())
	if err != nil || !noticed {
		t.Errorf("noticed: %v, error: %v", noticed, err)
	}
}

// TestPortTakenWhileStopped: a twin that is started again finds its place taken
// and moves, and its kubeconfig with it.
func TestPortTakenWhileStopped(t *testing.T) {
	ctx := testContext(t)
	opts := twin.Options{Nodes: 1, StateDir: t.TempDir()}
	tw := twintest.Start(t, opts)
	before, err := url.Parse(status(t, ctx, tw).Server)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(supervisor(t, tw), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var taken net.Listener
	eventually(t, ctx, "its port is free", func() bool {
		taken, err = net.Listen("tcp", before.Host)
		return err == nil
	})
	defer taken.Close()
	opts.Tied = true
	again, err := twin.Up(ctx, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	if st := status(t, ctx, again); st.State != twin.Running || st.Server == before.String() {
		t.Errorf("it is %s at %s, was at %s", st.State, st.Server, before)
	}
}

// TestTwoAtOnce: of two that bring the same twin up, one does and both have it.
func TestTwoAtOnce(t *testing.T) {
	ctx := testContext(t)
	twintest.FindBinary(t)
	opts := twin.Options{Name: "same", Nodes: 1, StateDir: t.TempDir(), Tied: true}
	var (
		both   sync.WaitGroup
		twins  [2]*twin.Twin
		errs   [2]error
		mu     sync.Mutex
		starts int
	)
	for i := range twins {
		both.Go(func() {
			twins[i], errs[i] = twin.Up(ctx, opts, func(line string) {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(line, "starting ") {
					starts++
				}
			})
		})
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	a, b := status(t, ctx, twins[0]), status(t, ctx, twins[1])
	if starts != 1 || a.State != twin.Running || a.Parts[0].PID != b.Parts[0].PID {
		t.Errorf("%d starts, states %s and %s", starts, a.State, b.State)
	}
	if err := twins[1].Down(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestInterruptedUp: an Up whose context ends takes back what it made.
func TestInterruptedUp(t *testing.T) {
	twintest.FindBinary(t)
	state := t.TempDir()
	ctx, cancel := context.WithCancel(testContext(t))
	_, err := twin.Up(ctx, twin.Options{Name: "brief", StateDir: state}, func(line string) {
		if strings.HasPrefix(line, "adding ") {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	if _, err := os.Stat(filepath.Join(state, "twins", "brief")); !os.IsNotExist(err) {
		t.Errorf("its directory is still there: %v", err)
	}
}

// TestComponentThatDoesNotStart: the error has what the component said.
func TestComponentThatDoesNotStart(t *testing.T) {
	twintest.FindBinary(t)
	state := t.TempDir()
	_, err := twin.Up(testContext(t), twin.Options{StateDir: state, APIServerArgs: []string{"--no-such-flag"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "kube-apiserver does not start") || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("error = %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Join(state, "twins")); len(entries) != 1 { // the lock
		t.Errorf("left: %v", entries)
	}
}

// TestScenarioThatCannotBeApplied: the error has the object, and nothing is left.
func TestScenarioThatCannotBeApplied(t *testing.T) {
	twintest.FindBinary(t)
	state := t.TempDir()
	file := filepath.Join(state, "bad.yaml")
	manifest := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: bad}\nspec: {replicas: -1}\n"
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := twin.Up(testContext(t), twin.Options{StateDir: state, Nodes: 1, Scenario: file}, nil)
	if err == nil || !strings.Contains(err.Error(), file+", document 2: Deployment default/bad") {
		t.Errorf("error = %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Join(state, "twins")); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

func TestNoPlace(t *testing.T) {
	twintest.FindBinary(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := twin.Up(testContext(t), twin.Options{StateDir: file}, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("state directory is a file: %v", err)
	}
	t.Setenv(twin.BinaryEnv, filepath.Join(file, "refit-twin"))
	if _, err := twin.Up(testContext(t), twin.Options{StateDir: t.TempDir()}, nil); err == nil || hint.Of(err) == "" {
		t.Errorf("no program: %v, hint %q", err, hint.Of(err))
	}
}
