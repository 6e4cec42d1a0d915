// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/vault"
)

// keyFile makes a pair of keys: the public one, and the file of the private one.
func keyFile(t *testing.T) (public, file string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(file, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return id.Recipient().String(), file
}

// signKeys makes a pair of keys to sign with, as files.
func signKeys(t *testing.T) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	private = filepath.Join(t.TempDir(), "sign")
	public = private + ".pub"
	if err := errors.Join(os.WriteFile(private, pem.EncodeToMemory(block), 0o600), os.WriteFile(public, ssh.MarshalAuthorizedKey(line), 0o600)); err != nil {
		t.Fatal(err)
	}
	return private, public
}

// TestBackupSets goes through the life of sets as a user does.
func TestBackupSets(t *testing.T) {
	t.Setenv("REFIT_STATE_DIR", t.TempDir())
	e := etcdtest.Start(t)
	for i := range 300 {
		value := fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":"Thing","data":"%0600d"}`, i)
		if _, err := e.Client.Put(t.Context(), fmt.Sprintf("/registry/example.com/things/default/t-%d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("ETCDCTL_ENDPOINTS", e.Endpoint)
	public, private := keyFile(t)
	_, another := keyFile(t)
	dir := t.TempDir()
	store, metrics := "file://"+filepath.Join(dir, "store"), filepath.Join(dir, "backup.prom")

	if _, errw, code := refit(t, "backup", "save", "--to", store); code != exitUsage || !strings.Contains(errw, "nobody is named to encrypt it to") {
		t.Errorf("a set that everybody can read: exit %d, stderr %q", code, errw)
	}
	out, errw, code := refit(t, "backup", "save", "--to", store, "--recipient", public, "--verify", "--identity", private, "--metrics-file", metrics)
	if code != exitDone || !strings.Contains(out, "a full (the first)") || !strings.Contains(out, "is proven") || !strings.Contains(errw, "the set has the snapshot alone") {
		t.Fatalf("save: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	if text, err := os.ReadFile(metrics); err != nil || !strings.Contains(string(text), "\nrefit_backup_sets 1\n") || strings.Contains(string(text), "proven_timestamp_seconds 0\n") {
		t.Errorf("metrics: %v, %s", err, text)
	}
	if _, err := e.Client.Put(t.Context(), "/registry/example.com/things/default/t-1", `{"apiVersion":"example.com/v1","kind":"Thing"}`); err != nil {
		t.Fatal(err)
	}
	var saved savedSet
	out, errw, code = refit(t, "backup", "save", "--to", store, "--recipient", public, "-o", "json")
	if err := json.Unmarshal([]byte(out), &saved); err != nil || code != exitDone || saved.Base == nil || saved.Snapshot.Revision != 302 {
		t.Fatalf("a second save: exit %d, %v, stdout %q, stderr %q", code, err, out, errw)
	}
	out, errw, code = refit(t, "backup", "list", store)
	if code != exitDone || strings.Count(out, "\n") != 3 || !strings.Contains(out, saved.Name+"  delta  302") || strings.Count(out, "never") != 1 {
		t.Errorf("list: exit %d, stdout\n%s, stderr %q", code, out, errw)
	}
	out, errw, code = refit(t, "backup", "status", saved.Location)
	if code != exitDone || !strings.Contains(out, "a delta of "+saved.Base.Name) || !strings.Contains(out, "things    300") || !strings.Contains(out, "to "+public) {
		t.Errorf("status: exit %d, stdout\n%s, stderr %q", code, out, errw)
	}
	for _, c := range []struct {
		args, says string
		code       int
	}{
		{"verify " + store + "/latest", "give the private key", exitUsage},
		{"verify " + store + "/latest --identity " + another, "encrypted to others", exitUsage},
		{"verify " + store + "/latest --identity " + private, "", exitDone},
		{"status " + store + "/latest --verify-key " + private, "no public key", exitUsage},
		{"status " + store + "/20260101T000000.000Z-aaaaaa", "no such set", exitUsage},
		{"status " + store, "no name of a set", exitUsage},
		{"list " + store + "/nowhere", "no such file", exitUsage},
		{"list ftp://x/y", "no kind of store", exitUsage},
		{"fetch " + store + "/latest " + filepath.Join(dir, "fetched") + " -i " + private, "fetched set " + saved.Name, exitDone},
		{"fetch " + store + "/latest " + filepath.Join(dir, "fetched") + " -i " + private, "file already exists", exitUsage},
		{"prune " + store, "nothing says what to keep", exitUsage},
		{"prune " + store + " --keep-last 1 --dry-run", "", exitDone},
		{"prune " + store + " --keep-last 1 --yes", "", exitDone},
		{"save x.db --recipient " + public, "is for sets", exitUsage},
		{"save --to " + store + " x.db", "exclude each other", exitUsage},
		{"save " + store, "no path of a file", exitUsage},
		{"save --to " + store + " --plaintext", "", exitDone},
	} {
		out, errw, code := refit(t, append([]string{"backup"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errw, c.says) {
			t.Errorf("backup %s: exit %d, stdout %q, stderr %q, want %d and %q", c.args, code, out, errw, c.code, c.says)
		}
	}
	if out, _, code := refit(t, "backup", "status", filepath.Join(dir, "fetched", "snapshot.db")); code != exitDone || !strings.Contains(out, ", 302, ") {
		t.Errorf("what was fetched: exit %d, %q", code, out)
	}
	// A set that is damaged is found by all who would use it, before anything is touched.
	part := filepath.Join(dir, "store", "data", saved.Name, "snapshot")
	text, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(part, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errw, code := refit(t, "backup", "verify", saved.Location, "-i", private); code != exitFailed || !strings.Contains(errw, "it is damaged") {
		t.Errorf("verify of a damaged set: exit %d, stderr %q", code, errw)
	}
	if _, errw, code := refit(t, "restore", saved.Location, "-i", private, "--yes"); code != exitBlocked || !strings.Contains(errw, "nothing was changed") {
		t.Errorf("restore of a damaged set: exit %d, stderr %q", code, errw)
	}
	if err := os.WriteFile(part, text[:len(text)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errw, code := refit(t, "backup", "list", store); code != exitFailed || !strings.Contains(out, "instead of") || !strings.Contains(errw, "1 set of 3 cannot be relied upon") {
		t.Errorf("list of a damaged set: exit %d, stdout %q, stderr %q", code, out, errw)
	}
}

// TestSignedSets takes those alone that are signed by the key that is trusted.
func TestSignedSets(t *testing.T) {
	t.Setenv("REFIT_STATE_DIR", t.TempDir())
	e := etcdtest.Start(t)
	if _, err := e.Client.Put(t.Context(), "/registry/example.com/things/default/t", `{"apiVersion":"example.com/v1","kind":"Thing"}`); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ETCDCTL_ENDPOINTS", e.Endpoint)
	store := "file://" + t.TempDir()
	private, public := signKeys(t)
	_, otherPublic := signKeys(t)
	if _, errw, code := refit(t, "backup", "save", "--to", store, "--plaintext", "--sign-key", private); code != exitDone {
		t.Fatalf("save: exit %d, stderr %q", code, errw)
	}
	for key, want := range map[string]int{public: exitDone, otherPublic: exitFailed} {
		if _, errw, code := refit(t, "backup", "verify", store+"/"+vault.Latest, "--verify-key", key, "--sign-key", private); code != want {
			t.Errorf("verify with %s: exit %d, want %d, stderr %q", key, code, want, errw)
		}
	}
	if _, errw, code := refit(t, "backup", "verify", store+"/"+vault.Latest); code != exitDone || !strings.Contains(errw, "keeps the signed proof") {
		t.Errorf("verify without a signature: exit %d, stderr %q", code, errw)
	}
	if out, errw, code := refit(t, "backup", "list", store, "--verify-key", public); code != exitDone || strings.Contains(out, "never") {
		t.Errorf("an unsigned proof has taken the place of a signed one: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	otherStore := "file://" + t.TempDir()
	for _, args := range [][]string{{"save", "--to", otherStore, "--plaintext", "--sign-key", private}, {"verify", otherStore + "/" + vault.Latest}} {
		if _, errw, code := refit(t, append([]string{"backup"}, args...)...); code != exitDone {
			t.Fatalf("%v: exit %d, stderr %q", args, code, errw)
		}
	}
	if out, errw, code := refit(t, "backup", "list", otherStore, "--verify-key", public); code != exitDone || !strings.Contains(out, "not by that key") || strings.Contains(out, "never") {
		t.Errorf("a proof that nobody has signed: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	if _, errw, code := refit(t, "restore", store+"/"+vault.Latest, "--verify-key", otherPublic, "--yes"); code != exitBlocked || !strings.Contains(errw, "not signed by the key") {
		t.Errorf("restore: exit %d, stderr %q", code, errw)
	}
	for range 2 {
		if _, errw, code := refit(t, "backup", "save", "--to", store, "--plaintext", "--full"); code != exitDone {
			t.Fatalf("save by nobody: exit %d, stderr %q", code, errw)
		}
	}
	out, errw, code := refit(t, "backup", "prune", store, "--keep-last", "1", "--verify-key", public, "--yes")
	if code != exitDone || strings.Count(out, "not trusted") != 2 || !strings.Contains(errw, "2 sets are not signed by that key") || strings.Contains(out, "removed") {
		t.Errorf("prune: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	if _, errw, code := refit(t, "restore", store+"/"+vault.Latest, "--verify-key", public, "--yes"); code != exitBlocked || !strings.Contains(errw, "nobody has signed it") {
		t.Errorf("restore of what nobody has signed: exit %d, stderr %q", code, errw)
	}
	if out, _, code := refit(t, "backup", "list", store, "--verify-key", otherPublic); code != exitFailed || !strings.Contains(out, "not signed by the key") {
		t.Errorf("list: exit %d, %q", code, out)
	}
}

// TestBackupSchedule prints what systemd and cron are given.
func TestBackupSchedule(t *testing.T) {
	public, _ := keyFile(t)
	sign, verify := signKeys(t)
	other, _ := signKeys(t)
	to := "s3://b/p?region=r&endpoint=http://h"
	out, errw, code := refit(t, "backup", "schedule", "--on-calendar", "*:0/30", "--keep-daily", "7", "--environment-file", "/etc/refit/env", "--verify-key", verify, "--", "--to", to, "--recipient", public, "--sign-key", sign)
	for _, want := range []string{"OnCalendar=*:0/30\n", " backup save --to " + to + " --recipient " + public + " --sign-key " + sign + "\n", " --yes --keep-daily=7 --verify-key=" + verify + "\n", "EnvironmentFile=/etc/refit/env\n", "Persistent=true"} {
		if code != exitDone || !strings.Contains(out, want) {
			t.Errorf("schedule: exit %d, stderr %q, want %q in\n%s", code, errw, want, out)
		}
	}
	out, errw, code = refit(t, "backup", "schedule", "--cron", "--on-calendar", "0 * * * *", "--", "--to", "file:///b%20c", "--recipient", public)
	if code != exitDone || !strings.HasPrefix(out, "0 * * * * ") || !strings.Contains(out, `b\%20c`) || strings.Count(out, "\n") != 1 {
		t.Errorf("cron: exit %d, stderr %q, %q", code, errw, out)
	}
	for _, c := range []struct{ args, says string }{
		{"", "are missing"},
		{"-- --recipient x", "does not save to a store"},
		{"-- --to file:///b", "nobody is named"},
		{"-- --to file:///b --nonsense", "unknown flag"},
		{"-- --to file:///b --recipients-file admins.txt --plaintext", "admins.txt"},
		{"-- --to file:///b --plaintext --metrics-file m.prom", "want an absolute path"},
		{"-- --to file:///b --plaintext --user root:hush", "a password does not belong"},
		{"-- --to file:///b --plaintext --user root --password hush", "a password does not belong"},
		{"--name a/b -- --to file:///b --plaintext", "want letters"},
		{"--cron --on-calendar often -- --to file:///b --plaintext", "cron wants five"},
		{"--verify-key " + verify + " -- --to file:///b --plaintext", "is for pruning"},
		{"--keep-last 1 --verify-key " + verify + " -- --to file:///b --plaintext", "save signs nothing"},
		{"--keep-last 1 --verify-key " + verify + " -- --to file:///b --plaintext --sign-key " + other, "signs by another key"},
		{"-- --to file:///b --plaintext --sign-key " + verify, "it is the public half"},
		{"--keep-last 1 --verify-key key.pub -- --to file:///b --plaintext", "want an absolute path"},
		{"--keep-last -1 -- --to file:///b --plaintext", "fewer than 0"},
	} {
		out, errw, code := refit(t, append([]string{"backup", "schedule"}, strings.Fields(c.args)...)...)
		if code != exitUsage || out != "" || !strings.Contains(errw, c.says) {
			t.Errorf("schedule %s: exit %d, stdout %q, stderr %q, want %q", c.args, code, out, errw, c.says)
		}
	}
}
