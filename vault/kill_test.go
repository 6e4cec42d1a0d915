// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/host"
	"refit.dev/refit/vault/retention"
)

// errandEnv has the test's program do an errand instead, as another process that is killed.
const errandEnv = "REFIT_TEST_VAULT_ERRAND"

// errand is a save, or a prune that keeps one set, in a process that is killed by SIGKILL at a step; none if Step
// is 0.
type errand struct {
	Store, Endpoint, Scratch, Indexes, Machine, Recipient string
	Prune                                                 bool
	Step                                                  int
}

func runErrand(text string) int {
	var e errand
	err := json.Unmarshal([]byte(text), &e)
	if err == nil {
		err = e.do(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (e errand) do(ctx context.Context) error {
	where, err := ParseStore(e.Store)
	if err != nil {
		return err
	}
	s, err := Open(ctx, where, clock.RealClock{}, 0, true)
	if err != nil {
		return err
	}
	defer s.Close()
	steps := 0
	s.step = func(string, string) error {
		if steps++; steps == e.Step {
			return unix.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	if e.Prune {
		p, err := s.PlanPrune(ctx, retention.Policy{Last: 1}, nil)
		if err == nil {
			_, err = s.Prune(ctx, p, nil)
		}
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w := etcd.Worker{Argv: []string{"/usr/bin/env", "-u", errandEnv, etcdtest.WorkerEnv + "=1", self}}
	t := Taker{
		Writer: Writer{Store: s}, Etcd: etcd.Saver{Access: etcd.Access{Endpoints: []string{e.Endpoint}, Patience: time.Minute}, Worker: w, Clock: clock.RealClock{}}, Worker: w,
		Machine: below{host.Here(nil), e.Machine}, Name: "cp1", Refit: "test", Indexes: e.Indexes, FullEvery: time.Hour, Scratch: e.Scratch,
	}
	if err := t.To.Add(e.Recipient); err != nil {
		return err
	}
	_, err = t.Take(ctx)
	return err
}

// killed runs an errand and tells whether it was killed.
func (e errand) killed(t *testing.T) bool {
	t.Helper()
	text, err := json.Marshal(e)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), errandEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return false
	case ended && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return true
	}
	t.Fatalf("%v: %s", err, out)
	return false
}

// restorable reads all that is listed, to the last byte, and returns the names.
func (b *bench) restorable(t *testing.T, when string) []string {
	t.Helper()
	sets, err := b.store.List(t.Context(), nil)
	must(t, err)
	var names []string
	for _, e := range sets {
		names = append(names, e.Name)
		if e.Problem != "" {
			t.Errorf("%s: set %s is listed: %s", when, e.Name, e.Problem)
			continue
		}
		file := filepath.Join(t.TempDir(), "snapshot.db")
		err := b.reader().Snapshot(t.Context(), e.Manifest, file)
		if err == nil {
			_, err = etcdtest.Worker(t).Status(t.Context(), file)
		}
		if _, filesErr := b.reader().Files(t.Context(), e.Manifest); err != nil || filesErr != nil {
			t.Errorf("%s: set %s is listed, and cannot be restored: %v, %v", when, e.Name, err, filesErr)
		}
	}
	return names
}

// TestSaveKilled kills a save at each step of each object, in a directory and on S3. Each set that is listed then can be restored,
// the next save goes on from there and clears away what was left in the clear on this machine, and a prune, once it
// may, what was left in the store.
func TestSaveKilled(t *testing.T) {
	for name, make := range map[string]func(*testing.T) (*bench, string){
		"directory": func(t *testing.T) (*bench, string) {
			b := newBench(t)
			return b, "file://" + b.dir
		},
		"S3": func(t *testing.T) (*bench, string) {
			b, s3 := onS3(t)
			return b, s3.URL("clusters/prod")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, url := make(t)
			e := errand{Store: url, Endpoint: b.etcd.Endpoint, Scratch: t.TempDir(), Indexes: filepath.Join(t.TempDir(), "indexes"), Machine: machine(t).dir, Recipient: b.keys.to.Names()[0]}
			must(t, os.WriteFile(e.Machine+"/opt/secrets/enc.yaml", []byte("kind: EncryptionConfiguration\n"), 0o600))
			for _, kind := range []string{"full", "delta"} {
				before := b.restorable(t, kind)
				for e.Step = 1; e.killed(t); e.Step++ {
					when := fmt.Sprintf("%s killed at step %d", kind, e.Step)
					if got := b.restorable(t, when); len(got) > len(before) {
						before = got // it was killed when all was done
					}
					if left := entries(t, e.Scratch); len(left) != 1 {
						t.Errorf("%s: %v are left here", when, left)
					}
				}
				after := b.restorable(t, kind)
				if e.Step <= 9 || len(after) != len(before)+1 {
					t.Errorf("a %s has %d steps, and %d sets became %d", kind, e.Step, len(before), len(after))
				}
				if left := entries(t, e.Scratch); len(left) > 0 {
					t.Errorf("nobody has cleared away %v", left)
				}
			}
			b.store.clock = clocktesting.NewFakeClock(clock.RealClock{}.Now().Add(2 * orphanAge))
			names := b.restorable(t, "in the end")
			p, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 99}, nil)
			must(t, err)
			prune(t, b.store, p)
			for _, o := range objects(t, b.dir) {
				if !slices.Contains(names, nameOf(o)) {
					t.Errorf("%s is left", o)
				}
			}
		})
	}
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// TestPruneKilled kills a prune at each step: what is listed then can be restored, what is to be kept is there, and
// the next prune comes to the same end.
func TestPruneKilled(t *testing.T) {
	b, names := history(t)
	whole := map[string][]byte{}
	for _, o := range objects(t, b.dir) {
		text, err := os.ReadFile(filepath.Join(b.dir, o))
		must(t, err)
		whole[o] = text
	}
	e := errand{Store: "file://" + b.dir, Prune: true}
	for e.Step = 1; ; e.Step++ {
		died := e.killed(t)
		when := fmt.Sprintf("killed at step %d", e.Step)
		if got := b.restorable(t, when); !slices.Equal(got[max(0, len(got)-2):], names[3:]) {
			t.Fatalf("%s: %v are listed", when, got)
		}
		if !died {
			break
		}
		b.store.clock = clocktesting.NewFakeClock(clock.RealClock{}.Now().Add(2 * orphanAge))
		next, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, nil)
		must(t, err)
		prune(t, b.store, next)
		b.store.clock = clock.RealClock{}
		for _, o := range objects(t, b.dir) {
			if !slices.Contains(names[3:], nameOf(o)) {
				t.Errorf("%s, and pruned again: %s is left", when, o)
			}
		}
		for o, text := range whole {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(b.dir, o)), 0o700))
			must(t, os.WriteFile(filepath.Join(b.dir, o), text, 0o600))
		}
	}
	if e.Step < 9 {
		t.Errorf("a prune has %d steps only", e.Step)
	}
	for _, o := range objects(t, b.dir) {
		if strings.HasPrefix(o, manifestDir) && !bytes.Equal(whole[o], mustRead(t, filepath.Join(b.dir, o))) {
			t.Errorf("%s was changed", o)
		}
	}
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	return text
}
