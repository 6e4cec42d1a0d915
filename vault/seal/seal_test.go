// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// owner is somebody with a pair of keys: the public one, and the file of the private one.
type owner struct{ public, file string }

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// owners has one of each kind of key.
func owners(t *testing.T) map[string]owner {
	t.Helper()
	x25519, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]owner{
		"age":         {x25519.Recipient().String(), write(t, "# created: today\n"+x25519.String()+"\n")},
		"age, hybrid": {hybrid.Recipient().String(), write(t, hybrid.String()+"\n")},
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"ssh, ed25519": edKey, "ssh, rsa": rsaKey} {
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			t.Fatal(err)
		}
		public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
		all[name] = owner{public, write(t, string(pem.EncodeToMemory(block)))}
	}
	return all
}

func stream(t *testing.T, to Recipients, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := Writer(&out, to)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unstream(sealed []byte, encrypted bool, by Identities) ([]byte, error) {
	r, err := Reader(bytes.NewReader(sealed), encrypted, by)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// TestEachKindOfKey seals for one, as a stream and as a text: that one reads it, nobody else does, and nothing can be read
// without a key. What age itself makes of a text can be read, too, with armour and without.
func TestEachKindOfKey(t *testing.T) {
	all := owners(t)
	text := bytes.Repeat([]byte("open sesame "), 1000)
	for name, o := range all {
		to, err := ReadRecipients([]string{o.public + " a comment"}, nil)
		if strings.HasPrefix(o.public, "age") {
			to, err = ReadRecipients([]string{o.public}, nil)
		}
		if err != nil || len(to.Names()) != 1 || to.Names()[0] != o.public {
			t.Fatalf("%s: %q, %v", name, to.Names(), err)
		}
		sealed := stream(t, to, text)
		armoured, err := to.Encrypt(text)
		if err != nil || !bytes.HasPrefix(armoured, []byte(armor.Header)) {
			t.Fatalf("%s: %.40q, %v", name, armoured, err)
		}
		var bare bytes.Buffer
		w, err := age.Encrypt(&bare, to.keys...)
		if err == nil {
			_, err = w.Write(text)
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		for _, reader := range append([]string{""}, keys(all)...) {
			var by Identities
			if reader != "" {
				if by, err = ReadIdentities([]string{all[reader].file}); err != nil {
					t.Fatalf("%s: %v", reader, err)
				}
			}
			fromStream, streamErr := unstream(sealed, true, by)
			fromText, textErr := by.Decrypt(armoured)
			fromBare, bareErr := by.Decrypt(bare.Bytes())
			if reader == name {
				if err := errors.Join(streamErr, textErr, bareErr); err != nil || !bytes.Equal(fromStream, text) || !bytes.Equal(fromText, text) || !bytes.Equal(fromBare, text) {
					t.Errorf("%s cannot read what is its own: %v", name, err)
				}
				continue
			}
			for _, err := range []error{streamErr, textErr, bareErr} {
				if !errors.Is(err, ErrNoKey) {
					t.Errorf("%q reads what is for %s: %v", reader, name, err)
				}
			}
		}
		if bytes.Contains(sealed, []byte("sesame")) || bytes.Contains(armoured, []byte("sesame")) {
			t.Errorf("%s: it can be read without a key", name)
		}
	}
}

func keys(all map[string]owner) (names []string) {
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestKeysAreNotTold: who gives a private key where its file is meant does not find it in a log.
func TestKeysAreNotTold(t *testing.T) {
	for _, key := range []string{"AGE-SECRET-KEY-1HUSH", " age-secret-key-pq-1HUSH", "-----BEGIN OPENSSH PRIVATE KEY-----\nHUSH\n"} {
		_, asIdentity := ReadIdentities([]string{key})
		_, asFile := ReadRecipients(nil, []string{key})
		_, asRecipient := ReadRecipients([]string{key}, nil)
		for _, err := range []error{asIdentity, asFile, asRecipient} {
			if err == nil || strings.Contains(err.Error(), "HUSH") || !strings.Contains(err.Error(), "private key") {
				t.Errorf("%q: %v", key, err)
			}
		}
	}
}

// TestManyRecipients are told once each, in one order, and each can read.
func TestManyRecipients(t *testing.T) {
	all := owners(t)
	var lines []string
	hybrid := all["age, hybrid"]
	delete(all, "age, hybrid")
	for _, name := range keys(all) {
		lines = append(lines, all[name].public)
	}
	if _, err := ReadRecipients([]string{lines[0], hybrid.public}, nil); err == nil || !strings.Contains(err.Error(), "do not go together") {
		t.Errorf("one that quantum computers cannot read, and one that they can: %v", err)
	}
	file := write(t, "# admins\n\n  "+strings.Join(lines, "\n")+"\n")
	to, err := ReadRecipients([]string{lines[1], lines[0]}, []string{file, file})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	if !slices.Equal(to.Names(), lines) {
		t.Errorf("named are %q, want %q", to.Names(), lines)
	}
	sealed := stream(t, to, []byte("x"))
	for name, o := range all {
		by, err := ReadIdentities([]string{o.file})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unstream(sealed, true, by); err != nil || string(got) != "x" {
			t.Errorf("%s reads %q, %v", name, got, err)
		}
	}
}

// TestDamage: no bit of what is sealed, and no cut, changes what is read without an error.
func TestDamage(t *testing.T) {
	o := owners(t)["age"]
	to, err := ReadRecipients([]string{o.public}, nil)
	if err != nil {
		t.Fatal(err)
	}
	by, err := ReadIdentities([]string{o.file})
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("open sesame")
	for name, c := range map[string]struct {
		to        Recipients
		encrypted bool
	}{"encrypted": {to, true}, "open": {Recipients{}, false}} {
		sealed := stream(t, c.to, text)
		for at := range sealed {
			damaged := bytes.Clone(sealed)
			damaged[at] ^= 1
			if got, err := unstream(damaged, c.encrypted, by); err == nil && !bytes.Equal(got, text) {
				t.Errorf("%s, a bit of byte %d: %q", name, at, got)
			}
			if got, err := unstream(sealed[:at], c.encrypted, by); err == nil && !bytes.Equal(got, text) && at > 0 {
				t.Errorf("%s, cut after %d bytes: %q", name, at, got)
			}
		}
		if got, err := unstream(sealed, !c.encrypted, by); err == nil {
			t.Errorf("%s, taken for the other: %q", name, got)
		}
	}
	armoured, err := to.Encrypt(text)
	if err != nil {
		t.Fatal(err)
	}
	for at := range armoured {
		if got, err := by.Decrypt(armoured[:at]); err == nil && !bytes.Equal(got, text) {
			t.Errorf("a text cut after %d bytes: %q", at, got)
		}
	}
}

// TestWhatIsNoKey is refused, and never repeated where it could be a secret.
func TestWhatIsNoKey(t *testing.T) {
	all := owners(t)
	secret, err := os.ReadFile(all["age"].file)
	if err != nil {
		t.Fatal(err)
	}
	private := strings.TrimSpace(strings.SplitN(string(secret), "\n", 2)[1])
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("hush"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"nothing": "", "a word": "alice", "a private key": private, "a cut one": all["age"].public[:30], "one of ECDSA": "ecdsa-sha2-nistp256 AAAA"} {
		if _, err := ReadRecipients([]string{text}, nil); err == nil || strings.Contains(err.Error(), private) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadRecipients(nil, nil); err == nil {
		t.Error("nobody is a recipient")
	}
	for name, c := range map[string]struct{ text, says string }{
		"empty": {"", "no recipient stands there"}, "comments": {"# x\n", "no recipient stands there"}, "a second line": {all["age"].public + "\nbob\n", ":2:"},
		"a private key": {private + "\n", "private key"}, "endless": {strings.Repeat("#", maxKeys+1), "those are no keys"},
	} {
		if _, err := ReadRecipients(nil, []string{write(t, c.text)}); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), private) {
			t.Errorf("a file of recipients, %s: %v", name, err)
		}
	}
	for name, c := range map[string]struct{ text, says string }{
		"empty": {"", "no private key"}, "a public key": {all["age"].public, "no private key"}, "a cut one": {private[:40], "no private key"},
		"one with a passphrase": {string(pem.EncodeToMemory(locked)), "passphrase"}, "one that age has encrypted": {"age-encryption.org/v1\n", "passphrase"},
		"endless": {strings.Repeat("#", maxKeys+1), "those are no keys"},
	} {
		_, err := ReadIdentities([]string{write(t, c.text)})
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), private[:40]) {
			t.Errorf("a file of identities, %s: %v", name, err)
		}
	}
}
