// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/aside"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/run"
)

// TestFetchedIsSwept: what a killed process has fetched is removed by the next one, but for what a run needs that can be
// resumed, and what another process is about to restore.
func TestFetchedIsSwept(t *testing.T) {
	t.Setenv(statedir.Env, t.TempDir())
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	e := etcdtest.Start(t)
	if _, err := e.Client.Put(t.Context(), "/registry/example.com/things/default/t", `{"apiVersion":"example.com/v1","kind":"Thing"}`); err != nil {
		t.Fatal(err)
	}
	store := "file://" + t.TempDir()
	if _, errw, code := refit(t, "backup", "save", "--to", store, "--plaintext", "--endpoints", e.Endpoint); code != exitDone {
		t.Fatalf("save: exit %d, stderr %q", code, errw)
	}
	dir, err := fetchedRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"set-111", "set-222", "set-333", "mine"} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o700), os.WriteFile(filepath.Join(dir, name, "x.db"), []byte("all Secrets"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	living, remove, err := aside.Kept(dir, fetchedPrefix)
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	runs, err := run.DefaultStore(clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	for name, finished := range map[string]bool{"set-222": false, "set-333": true} {
		held, err := runs.Begin(t.Context(), &run.Spec{
			Run: run.NewID(time.Now()), Created: time.Now(), Access: &inventory.Access{}, Nodes: []run.Target{{Name: "cp1"}},
			Restore: &run.Restore{
				File: filepath.Join(dir, name, "x.db"), SHA256: strings.Repeat("0", 64), Token: "t",
				Members: []run.Member{{Node: "cp1", Name: "cp1", Method: run.StaticPods, DataDir: "/var/lib/etcd", PeerURLs: []string{"https://10.0.0.1:2380"}}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if finished {
			err = held.Record(run.Record{Kind: run.KindAborted, Reason: "given up"})
		}
		if err := errors.Join(err, held.Close()); err != nil {
			t.Fatal(err)
		}
	}
	_, errw, code := refit(t, "restore", store+"/latest", "--yes")
	if code == exitDone || !strings.Contains(errw, "fetching set") {
		t.Fatalf("restore without a cluster: exit %d, stderr %q", code, errw)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	want := []string{"mine", "set-222", filepath.Base(living)}
	if slices.Sort(want); !slices.Equal(left, want) {
		t.Errorf("there is %q, want %q", left, want)
	}
}

// TestBootstrapFlags says what does not go together.
func TestBootstrapFlags(t *testing.T) {
	t.Setenv(statedir.Env, t.TempDir())
	for _, c := range []struct{ args, says string }{
		{"x.db --machines cp1", "the snapshot's file has none"},
		{"file:///b/latest --unsigned", "is for one machine"},
		{"file:///b/latest --machines cp1,cp2 --unsigned", "is for one machine"},
		{"file:///b/latest --machines cp1 --unsigned --data-dir /x", "not with --bootstrap"},
		{"file:///b/latest --machines cp1 --other-cluster --unsigned", "not with --bootstrap"},
		{"file:///b/latest --machines cp1", "nobody's signature on the set is asked for"},
		{"file:///b/latest --machines cp1 --unsigned --verify-key x", "exclude each other"},
	} {
		_, errw, code := refit(t, append([]string{"restore", "--bootstrap", "--yes"}, strings.Fields(c.args)...)...)
		if code != exitUsage || !strings.Contains(errw, c.says) {
			t.Errorf("%s: exit %d, stderr %q, want %q", c.args, code, errw, c.says)
		}
	}
}

// TestReleased: the keys of a cluster stay in the clear only for a run that can be resumed.
func TestReleased(t *testing.T) {
	t.Setenv(statedir.Env, t.TempDir())
	runs, err := run.DefaultStore(clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := fetchedRoot()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		begun, journal bool
		failed         error
		kept           bool
	}{
		"done":           {begun: true, journal: true},
		"not begun":      {failed: errors.New("no")},
		"no journal":     {begun: true, failed: errors.New("no space left")},
		"can be resumed": {begun: true, journal: true, failed: errors.New("killed"), kept: true},
	} {
		made, remove, err := aside.Kept(dir, fetchedPrefix)
		if err != nil {
			t.Fatal(err)
		}
		set := &fetched{file: filepath.Join(made, "x.db"), remove: remove}
		if c.journal {
			held, err := runs.Begin(t.Context(), &run.Spec{
				Run: run.NewID(time.Now()), Created: time.Now(), Access: &inventory.Access{}, Nodes: []run.Target{{Name: "cp1"}},
				Restore: &run.Restore{
					File: set.file, SHA256: strings.Repeat("0", 64), Token: "t",
					Members: []run.Member{{Node: "cp1", Name: "cp1", Method: run.StaticPods, DataDir: "/var/lib/etcd", PeerURLs: []string{"https://10.0.0.1:2380"}}},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if c.failed == nil {
				err = held.Record(run.Record{Kind: run.KindFinished, Result: "done"})
			}
			if err := errors.Join(err, held.Close()); err != nil {
				t.Fatal(err)
			}
		}
		var said strings.Builder
		a := &app{IOStreams: genericiooptions.IOStreams{ErrOut: &said}}
		if err := a.release(set, c.begun, c.failed); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := releaseRestored(set.file); err != nil { // by a resume, which may have failed, too
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(made); (err == nil) != c.kept || strings.Contains(said.String(), made) != c.kept {
			t.Errorf("%s: %v, and it says %q", name, err, said.String())
		}
	}
}
