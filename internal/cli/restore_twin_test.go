// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/internal/statedir"
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
}
