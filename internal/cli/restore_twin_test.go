// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// With a twin's kubeconfig, etcd is found without a flag, and restored without a machine.
func TestRestoreTwin(t *testing.T) {
	state := t.TempDir()
	t.Setenv(statedir.Env, state)
	tw := twintest.Start(t, twin.Options{Nodes: 1, StateDir: state})
	t.Setenv("KUBECONFIG", tw.Kubeconfig())
	namespaces := twintest.Client(t, tw).CoreV1().Namespaces()
	create := func(name string) {
		if _, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("kept")
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if out, errw, code := refit(t, "backup", "save", file); code != exitDone || !strings.Contains(out, "from member twin") {
		t.Fatalf("save: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	store := "file://" + filepath.Join(t.TempDir(), "store")
	if _, errw, code := refit(t, "backup", "save", "--to", store, "--plaintext"); code != exitDone {
		t.Fatalf("save a set: exit %d, stderr %q", code, errw)
	}
	if out, errw, code := refit(t, "backup", "verify", store+"/latest", "--boot-api"); code != exitDone || !strings.Contains(out, "served     Kubernetes v1.") || strings.Contains(out, "lists 0 objects") {
		t.Errorf("verify with an API server: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	if _, errw, code := refit(t, "restore", store+"/latest", "--bootstrap", "--machines", "cp1", "--unsigned", "--yes"); code != exitUsage || !strings.Contains(errw, "leads to the twin") {
		t.Errorf("a twin, as a new machine: exit %d, stderr %q", code, errw)
	}
	create("lost")
	if _, errw, code := refit(t, "restore", file, "--yes", "--machines", "a"); code != exitUsage || !strings.Contains(errw, "leads to the twin") {
		t.Errorf("with machines: exit %d, stderr %q", code, errw)
	}
	if _, errw, code := refit(t, "restore", file); code != exitUsage || !strings.Contains(errw, "--yes") {
		t.Errorf("nobody was asked: exit %d, stderr %q", code, errw)
	}
	out, errw, code := refit(t, "restore", file, "--yes")
	if code != exitDone || !strings.Contains(errw, "member twin, twin, in "+tw.Dir()) || !strings.Contains(errw, "what was written since then is lost") {
		t.Fatalf("restore: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	if _, err := namespaces.Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if n, err := namespaces.Get(t.Context(), "lost", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it was written after the snapshot: %v, %v", n, err)
	}
	if entries, err := os.ReadDir(tw.RestoreDir()); err == nil {
		t.Errorf("left %v", entries)
	}
	create("lost-again")
	resumeFetched(t, file)
	if n, err := namespaces.Get(t.Context(), "lost-again", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it was written after the snapshot, and the run was resumed: %v, %v", n, err)
	}
}

// resumeFetched resumes a restore of what was fetched, as a killed process leaves it, once in vain and once to its end: until
// then nothing of it is removed. The last run of the store is what it restores again.
func resumeFetched(t *testing.T, file string) {
	t.Helper()
	runs, err := run.DefaultStore(clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	last, err := runs.Newest()
	if err != nil {
		t.Fatal(err)
	}
	status, err := runs.Read(last)
	if err != nil {
		t.Fatal(err)
	}
	root, err := fetchedRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, fetchedPrefix+"111")
	snapshot, keys, away := filepath.Join(dir, "x.db"), filepath.Join(dir, "files.json"), filepath.Join(t.TempDir(), "x.db")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(away, text, 0o600), os.WriteFile(keys, []byte("all keys"), 0o600)); err != nil {
		t.Fatal(err)
	}
	spec := *status.Spec
	restored := *spec.Restore
	spec.Run, spec.Restore = run.NewID(time.Now()), &restored
	restored.File, restored.Set = snapshot, "20261124T041421.443Z-atmbzb"
	restored.BumpRevision *= 2
	held, err := runs.Begin(t.Context(), &spec)
	if err == nil {
		err = held.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, errw, code := refit(t, "runs", "resume"); code != exitFailed || !strings.Contains(errw, snapshot) {
			t.Fatalf("resume without the snapshot: exit %d, stderr %q", code, errw)
		}
		if _, err := os.Stat(keys); err != nil {
			t.Fatalf("it is not at its end, and what was fetched is gone: %v", err)
		}
	}
	if err := os.Rename(away, snapshot); err != nil {
		t.Fatal(err)
	}
	if out, errw, code := refit(t, "runs", "resume"); code != exitDone || !strings.Contains(out+errw, fmt.Sprintf("restored to revision %d of set %s", restored.Revision, restored.Set)) {
		t.Fatalf("resume: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is at its end, and what was fetched is there: %v", err)
	}
}
