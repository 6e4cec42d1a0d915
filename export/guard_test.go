// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"refit.dev/refit/manifest"
	"refit.dev/refit/vault/seal"
)

// TestAnotherCluster: an export of another cluster does not replace that of the first one by accident.
func TestAnotherCluster(t *testing.T) {
	write := func(dir, cluster string, reselect bool) error {
		c := cutOf(0)
		if c.Cluster = cluster; cluster == "other" {
			c.Objects = c.Objects[:1]
		}
		_, err := Write(dir, c, Options{Reselect: reselect})
		return err
	}
	dir := t.TempDir()
	if err := write(dir, "one", false); err != nil {
		t.Fatal(err)
	}
	before := filesOf(t, dir)
	if err := write(dir, "other", false); !errors.Is(err, ErrDirectory) || !strings.Contains(err.Error(), "of another cluster") {
		t.Errorf("%v", err)
	}
	if !maps.Equal(before, filesOf(t, dir)) {
		t.Error("something was changed")
	}
	// Nobody can tell which cluster it is.
	if err := write(dir, "", false); !errors.Is(err, ErrDirectory) || !strings.Contains(err.Error(), "nobody can tell") {
		t.Errorf("%v", err)
	}
	if !maps.Equal(before, filesOf(t, dir)) {
		t.Error("something was changed by who sees no cluster")
	}
	if err := write(dir, "other", true); err != nil || len(filesOf(t, dir)) != 1 {
		t.Errorf("%v, %d files", err, len(filesOf(t, dir)))
	}
	if err := write(dir, "one", false); !errors.Is(err, ErrDirectory) {
		t.Errorf("it is not of the other one now: %v", err)
	}
}

// TestClusterByNamespace: who may read one namespace alone is told by that one's UID.
func TestClusterByNamespace(t *testing.T) {
	type seen struct {
		cluster    string
		namespaces map[string]string
		server     string
	}
	one, other := map[string]string{"shop": "1"}, map[string]string{"shop": "2"}
	for name, c := range map[string]struct {
		first, second seen
		refused       string
	}{
		"the same namespace":                     {seen{"", one, ""}, seen{"", one, ""}, ""},
		"another of the name":                    {seen{"", one, ""}, seen{"", other, ""}, "of another cluster"},
		"one who sees all, and one who does not": {seen{"a", one, ""}, seen{"", one, ""}, ""},
		"one who sees all of another cluster":    {seen{"", one, ""}, seen{"b", other, ""}, "of another cluster"},
		"made anew in the same cluster":          {seen{"a", one, ""}, seen{"a", other, ""}, ""},
		"not there":                              {seen{"", one, ""}, seen{"", nil, ""}, "nobody can tell"},
		"nothing in common":                      {seen{"a", nil, ""}, seen{"", one, ""}, "nobody can tell"},
		"one of two made anew":                   {seen{"", map[string]string{"shop": "1", "web": "5"}, ""}, seen{"", map[string]string{"shop": "1", "web": "6"}, ""}, ""},
		"nothing known yet":                      {seen{}, seen{"", one, "x"}, ""},
		"no namespace, and the same server":      {seen{"", nil, "x"}, seen{"", nil, "x"}, ""},
		"no namespace, and another server":       {seen{"", nil, "x"}, seen{"", nil, "y"}, "at another address"},
		"one who sees more, there":               {seen{"", nil, "x"}, seen{"a", one, "x"}, ""},
		"one who sees more, somewhere else":      {seen{"", nil, "x"}, seen{"a", one, "y"}, "at another address"},
		"the same namespace, from elsewhere":     {seen{"", one, "x"}, seen{"", one, "y"}, ""},
	} {
		dir := t.TempDir()
		write := func(s seen, objects int) error {
			cut := cutOf(0)
			cut.Cluster, cut.Namespaces, cut.Server, cut.Objects = s.cluster, s.namespaces, s.server, cut.Objects[:objects]
			_, err := Write(dir, cut, Options{})
			return err
		}
		if err := write(c.first, 3); err != nil {
			t.Fatal(err)
		}
		before := filesOf(t, dir)
		err := write(c.second, 1)
		if c.refused == "" {
			if err != nil || len(filesOf(t, dir)) != 1 {
				t.Errorf("%s: %v, %d files", name, err, len(filesOf(t, dir)))
			}
			if text, _ := os.ReadFile(filepath.Join(dir, IndexName)); c.first.cluster != "" && !strings.Contains(string(text), "\ncluster "+c.first.cluster+"\n") {
				t.Errorf("%s: the cluster was forgotten: %s", name, text)
			}
			continue
		}
		if !errors.Is(err, ErrDirectory) || !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v", name, err)
		}
		if !maps.Equal(before, filesOf(t, dir)) {
			t.Errorf("%s: something was changed", name)
		}
	}
}

// TestFirstFormat: an index without a cluster is taken as it is, and gets one.
func TestFirstFormat(t *testing.T) {
	dir := t.TempDir()
	old := indexHead + firstFormat + "\nselection everything\n" + stateWhole + "\nshop/configmap/gone.yaml\n"
	for name, text := range map[string]string{IndexName: old, "shop/configmap/gone.yaml": string(configMap("gone", 0))} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c := cutOf(0)
	c.Cluster = "one"
	written, err := Write(dir, c, Options{})
	if err != nil || written.Removed != 1 {
		t.Fatalf("%+v, %v", written, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, IndexName)); err != nil || !strings.Contains(string(text), "\ncluster one\n") {
		t.Errorf("%s, %v", text, err)
	}
}

// TestIndexOfSomethingElse: what an index lists and no export has written is not removed.
func TestIndexOfSomethingElse(t *testing.T) {
	for path, text := range map[string]string{
		"charts/app/values.yaml":        "image: web\n",
		"shop/configmap/other.yaml":     string(configMap("another", 0)),
		"shop/secret/other.yaml":        string(configMap("other", 0)),
		"shop/configmap/two.yaml":       string(configMap("two", 0)) + "---\n" + string(configMap("three", 0)),
		"shop/configmap/merged.yaml":    "<<<<<<< ours\n" + string(configMap("merged", 0)),
		"shop/secret/password.yaml.age": "my own text",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, path)
		index := indexHead + indexFormat + "\nselection everything\n" + stateWhole + "\n" + path + "\n"
		err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, IndexName), []byte(index), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		before := filesOf(t, dir)
		if _, err := Write(dir, cutOf(0), Options{}); !errors.Is(err, ErrDirectory) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		if !maps.Equal(before, filesOf(t, dir)) {
			t.Errorf("%s: something was changed", path)
		}
	}
	for _, path := range []string{"values.yaml", "app/values.yaml", "App/configmap/a.yaml", "_clusters/configmap/a.yaml", "shop/configmap/A.yaml", "shop/configmap/.a.yaml", "shop//a.yaml", "shop/configmap/a.yml"} {
		if _, err := parseIndex([]byte(indexHead + indexFormat + "\nselection everything\n" + stateWhole + "\n" + path + "\n")); err == nil {
			t.Errorf("%s may be listed", path)
		}
	}
}

// secretCut is one Secret.
func secretCut() *Cut {
	key := manifest.Key{Kind: "Secret", Namespace: "shop", Name: "password"}
	text := "apiVersion: v1\ndata:\n  a: Yg==\nkind: Secret\nmetadata:\n  name: password\n  namespace: shop\n"
	return &Cut{Objects: []Object{{Key: key, Path: "shop/secret/password.yaml", Text: []byte(text), Stamp: "uid 1", Secret: true}}}
}

// TestDamagedSecretIsMended: an encrypted file that is not what was written is written anew.
func TestDamagedSecretIsMended(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Selection: Selection{Secrets: SecretsEncrypt}}
	if o.Recipients, err = seal.ReadRecipients([]string{identity.Recipient().String()}, nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := Write(dir, secretCut(), o); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "shop", "secret", "password.yaml.age")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if written, err := Write(dir, secretCut(), o); err != nil || written.Unchanged != 1 {
		t.Errorf("untouched: %+v, %v", written, err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(identity.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	identities, err := seal.ReadIdentities([]string{key})
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"cut": text[:len(text)/2], "empty": {}, "flipped": append(slices.Clone(text[:len(text)-60]), append([]byte{text[len(text)-60] ^ 1}, text[len(text)-59:]...)...)} {
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		written, err := Write(dir, secretCut(), o)
		if err != nil || written.Changed != 1 {
			t.Errorf("%s: %+v, %v", name, written, err)
		}
		now, err := os.ReadFile(file)
		if err == nil {
			now, err = identities.Decrypt(now)
		}
		if err != nil || !bytes.Equal(now, secretCut().Objects[0].Text) {
			t.Errorf("%s: %s, %v", name, now, err)
		}
	}
}

// TestPlainSecretIsClosed: a Secret that a checkout has opened to everybody is closed again.
func TestPlainSecretIsClosed(t *testing.T) {
	dir, o := t.TempDir(), Options{Selection: Selection{Secrets: SecretsPlain}}
	if _, err := Write(dir, secretCut(), o); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "shop", "secret", "password.yaml")
	if err := os.Chmod(file, 0o644); err != nil { //nolint:gosec // that is the point
		t.Fatal(err)
	}
	if _, err := Write(dir, secretCut(), o); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if written, err := Write(dir, secretCut(), o); err != nil || written.Unchanged != 1 {
		t.Errorf("%+v, %v", written, err)
	}
}

// TestCheck: a part of a tree is as whole as the tree, and lacks what that lacks.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	c := cutOf(0)
	c.Unread = []Unread{{Resource: "things.example.com", Why: "away"}}
	if _, err := Write(dir, c, Options{}); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, IndexName)
	whole, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	parts := []string{dir, filepath.Join(dir, "shop"), filepath.Join(dir, "shop", "configmap"), filepath.Join(dir, "shop", "configmap", "c-001.yaml")}
	for _, path := range parts {
		if lacks, err := Check(path); err != nil || !slices.Equal(lacks, []string{"things.example.com"}) {
			t.Errorf("%s: %v, %v", path, lacks, err)
		}
	}
	mine := filepath.Join(dir, "mine")
	if err := os.MkdirAll(mine, 0o755); err != nil { //nolint:gosec // nothing is in it
		t.Fatal(err)
	}
	if err := os.WriteFile(index, []byte(strings.Replace(string(whole), stateWhole, stateMoving, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range parts {
		if _, err := Check(path); !errors.Is(err, ErrUnfinished) {
			t.Errorf("%s: %v", path, err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(parts[1], link); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(link); !errors.Is(err, ErrUnfinished) {
		t.Errorf("by a link: %v", err)
	}
	if lacks, err := Check(mine); err != nil || lacks != nil {
		t.Errorf("what no export has written: %v, %v", lacks, err)
	}
}
