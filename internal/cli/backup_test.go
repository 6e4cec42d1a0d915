// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/etcd/proven"
	"refit.dev/refit/internal/statedir"
)

// TestMain lets refit run itself as the process that reads snapshots: here that is the
// test's own program.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "backup" && os.Args[2] == workerName {
		streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
		os.Exit(Run(context.Background(), streams, "refit", os.Args[1:]))
	}
	if text := os.Getenv(cloudEnv); text != "" {
		var c cloud
		err := json.Unmarshal([]byte(text), &c)
		if err == nil {
			err = c.serve()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestBackup(t *testing.T) {
	t.Setenv(statedir.Env, t.TempDir())
	dir, withTLS := etcdtest.WithTLS(t)
	e := etcdtest.Start(t, withTLS)
	for i := range 20 {
		if _, err := e.Client.Put(t.Context(), fmt.Sprintf("/registry/example.com/things/default/t-%d", i), `{"apiVersion":"example.com/v1","kind":"Thing"}`); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("ETCDCTL_CACERT", filepath.Join(dir, "cert.pem"))
	t.Setenv("ETCDCTL_CERT", filepath.Join(dir, "cert.pem"))
	t.Setenv("ETCDCTL_KEY", filepath.Join(dir, "key.pem"))
	file := filepath.Join(dir, "snapshot.db")
	out, errw, code := refit(t, "backup", "save", file, "--endpoints", e.Endpoint)
	if code != exitDone || !strings.Contains(out, "saved "+file) || !strings.Contains(out, "at revision 21, from member etcd-test") {
		t.Fatalf("save: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	if _, errw, code := refit(t, "backup", "save", file, "--endpoints", e.Endpoint); code != exitUsage || !strings.Contains(errw, "file already exists") {
		t.Errorf("save over a file: exit %d, stderr %q", code, errw)
	}
	t.Setenv("ETCDCTL_ENDPOINTS", e.Endpoint)
	var saved etcd.Saved
	out, errw, code = refit(t, "backup", "save", file+"2", "-o", "json")
	if err := json.Unmarshal([]byte(out), &saved); err != nil || code != exitDone || saved.Revision != 21 {
		t.Errorf("save as JSON: exit %d, %v, stdout %q, stderr %q", code, err, out, errw)
	}

	want, err := snapshot.NewV3(zap.NewNop()).Status(file)
	if err != nil {
		t.Fatal(err)
	}
	out, errw, code = refit(t, "backup", "status", file)
	if code != exitDone || !strings.HasPrefix(out, fmt.Sprintf("%x, %d, %d, %s, %s\n", want.Hash, want.Revision, want.TotalKey, size(want.TotalSize), want.Version)) ||
		!strings.Contains(out, "example.com  things    20") {
		t.Errorf("status: exit %d, stdout\n%s, stderr %q", code, out, errw)
	}
	var got snapshot.Status
	out, _, code = refit(t, "backup", "status", file, "-o", "json")
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitDone || got != want {
		t.Errorf("status as JSON: exit %d, %v, %+v, want %+v", code, err, got, want)
	}
	out, errw, code = refit(t, "backup", "verify", file)
	if code != exitDone || !strings.Contains(out, " is proven") || !strings.Contains(out, "revision 21, 20 keys") {
		t.Errorf("verify: exit %d, stdout\n%s, stderr %q", code, out, errw)
	}
	var proof etcd.Proof
	out, _, code = refit(t, "backup", "verify", file, "-o", "json", "--scratch-dir", t.TempDir())
	if err := json.Unmarshal([]byte(out), &proof); err != nil || code != exitDone || proof.Decoded != 20 {
		t.Errorf("verify as JSON: exit %d, %v, %s", code, err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[5000] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"status", "verify"} {
		if _, errw, code := refit(t, "backup", verb, file); code != exitFailed || !strings.Contains(errw, "does not have the SHA-256") {
			t.Errorf("%s of a damaged file: exit %d, stderr %q", verb, code, errw)
		}
	}
}

// TestProofIsRemembered: what was proven is known to the plans of upgrades.
func TestProofIsRemembered(t *testing.T) {
	t.Setenv(statedir.Env, t.TempDir())
	e := etcdtest.Start(t)
	if _, err := e.Client.Put(t.Context(), "/registry/namespaces/kube-system", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"1234"}}`); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot.db")
	for _, args := range [][]string{{"save", file, "--endpoints", e.Endpoint}, {"verify", file}} {
		if _, errw, code := refit(t, append([]string{"backup"}, args...)...); code != exitDone {
			t.Fatalf("%v: exit %d, stderr %q", args, code, errw)
		}
	}
	store, err := proven.DefaultStore()
	if err != nil {
		t.Fatal(err)
	}
	if last, err := store.Last("1234"); err != nil || last == nil || last.Place != file || last.Revision != 2 || last.Saved.IsZero() {
		t.Errorf("what is known of proven backups: %+v, %v", last, err)
	}
}

// TestBackupWrongUse is about what is refused before anything is asked.
func TestBackupWrongUse(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", "/nowhere")
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	for _, c := range []struct {
		args, env, says string
	}{
		{"save", "", "nothing says where to save to"},
		{"save " + file + " --endpoints ftp://a:1", "", "want http://HOST:PORT"},
		{"save " + file + " --cacert /nowhere/ca", "", "--cacert: open /nowhere/ca"},
		{"save " + file + " --user me", "", "the password is missing"},
		{"save " + file + " --dial-timeout 0s", "", "--dial-timeout 0s: want a time above 0"},
		{"save " + file, "soon", `ETCDCTL_DIAL_TIMEOUT="soon"`},
		{"save " + file, "", "/nowhere"},
		{"status " + dir, "", "no regular file but a directory"},
		{"status " + file, "", "no such file"},
		{"verify " + file, "", "no such file"},
	} {
		t.Setenv("ETCDCTL_DIAL_TIMEOUT", c.env)
		out, errw, code := refit(t, append([]string{"backup"}, strings.Fields(c.args)...)...)
		if code != exitUsage || out != "" || !strings.Contains(errw, c.says) {
			t.Errorf("backup %s: exit %d, stdout %q, stderr %q, want %q", c.args, code, out, errw, c.says)
		}
	}
}

// TestFullDisk: it is nobody's wrong input, whatever file was being written.
func TestFullDisk(t *testing.T) {
	for errno, want := range map[syscall.Errno]int{syscall.ENOSPC: exitFailed, syscall.EDQUOT: exitFailed, syscall.EACCES: exitUsage} {
		err := fmt.Errorf("save: %w", &fs.PathError{Op: "write", Path: "f.db", Err: errno})
		if got := exitCode(backupError(t.Context(), err)); got != want {
			t.Errorf("%v: exit %d, want %d", errno, got, want)
		}
	}
}
