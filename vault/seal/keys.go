// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"refit.dev/refit/internal/hint"
)

// maxKeys is how many bytes of a file with keys are read.
const maxKeys = 1 << 20

// Recipients are those who can read what is sealed. The zero value is nobody.
type Recipients struct {
	keys  []age.Recipient
	names []string
}

// ReadRecipients reads public keys, and files of them, one on a line. The error says so if there is none.
func ReadRecipients(texts, files []string) (Recipients, error) {
	var r Recipients
	for _, text := range texts {
		if err := r.Add(text); err != nil {
			return r, err
		}
	}
	for _, file := range files {
		if err := r.AddFile(file); err != nil {
			return r, err
		}
	}
	if r.None() {
		return r, hint.Wrap(errors.New("there is no recipient to encrypt to"), "age-keygen makes a pair of keys; --recipient takes the public one, or one of SSH")
	}
	if _, err := age.Encrypt(io.Discard, r.keys...); err != nil { // better now than when there is something to encrypt
		return r, hint.Wrap(fmt.Errorf("the recipients do not go together: %w", err), "give everybody a key of the same kind")
	}
	return r, nil
}

// Names are the public keys without comments, sorted.
func (r Recipients) Names() []string { return slices.Sorted(slices.Values(r.names)) }

// None tells whether nobody is named, so that nothing is encrypted.
func (r Recipients) None() bool { return len(r.keys) == 0 }

// Add adds a public key of age (age1...), or of SSH (ssh-ed25519 or ssh-rsa), unless it is there.
func (r *Recipients) Add(text string) error {
	text = strings.TrimSpace(text)
	var key age.Recipient
	var name string
	var err error
	switch {
	case strings.HasPrefix(text, "age1"):
		var keys []age.Recipient
		if keys, err = age.ParseRecipients(strings.NewReader(text)); err == nil {
			key = keys[0]
		}
		name = text
	case strings.HasPrefix(text, "ssh-"):
		key, err = agessh.ParseRecipient(text)
		name = strings.Join(strings.Fields(text)[:min(2, len(strings.Fields(text)))], " ")
	case private(text):
		err = errors.New("it is a private key; do not show it to anybody") // and it is not repeated here
		text = "..."
	default:
		err = errors.New("it is no public key of age or SSH")
	}
	if err != nil {
		return hint.Wrap(fmt.Errorf("recipient %q: %w", text, err), "want age1... (age-keygen -y FILE prints it), ssh-ed25519 ... or ssh-rsa ...")
	}
	if !slices.Contains(r.names, name) {
		r.keys, r.names = append(r.keys, key), append(r.names, name)
	}
	return nil
}

// private tells of a text that is given where another was meant whether it is a private key.
func private(text string) bool {
	return strings.HasPrefix(strings.ToUpper(strings.TrimSpace(text)), "AGE-SECRET-KEY-") || strings.Contains(text, "PRIVATE KEY")
}

// AddFile adds the public keys of a file, one on a line; lines that are empty or begin
// with # say nothing.
func (r *Recipients) AddFile(path string) error {
	text, err := readKeys(path)
	if err != nil {
		return fmt.Errorf("read the recipients: %w", err)
	}
	found := false
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := r.Add(line); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		found = true
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !found {
		return fmt.Errorf("%s: no recipient stands there", path)
	}
	return nil
}

// Identities are private keys.
type Identities struct{ keys []age.Identity }

// ReadIdentities reads files with private keys, none or more.
func ReadIdentities(files []string) (Identities, error) {
	var i Identities
	for _, file := range files {
		if err := i.AddFile(file); err != nil {
			return i, err
		}
	}
	return i, nil
}

// None tells whether there is no key.
func (i Identities) None() bool { return len(i.keys) == 0 }

// AddFile adds the private keys of a file: of age (AGE-SECRET-KEY-1...), or one of SSH that has
// no passphrase.
func (i *Identities) AddFile(path string) error {
	text, err := readKeys(path)
	if err != nil {
		return fmt.Errorf("read the identity: %w", err)
	}
	var keys []age.Identity
	if bytes.Contains(text, []byte("-----BEGIN")) && !bytes.Contains(text, []byte("AGE ENCRYPTED")) {
		var key age.Identity
		if key, err = agessh.ParseIdentity(text); err == nil {
			keys = []age.Identity{key}
		}
	} else {
		keys, err = age.ParseIdentities(bytes.NewReader(text))
	}
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked || bytes.Contains(text, []byte("age-encryption.org/v1")) || bytes.Contains(text, []byte("AGE ENCRYPTED")) {
		return hint.Wrap(fmt.Errorf("identity %s: a passphrase is needed for it", path), "decrypt it for this: age -d -o KEY %s, or ssh-keygen -p on a copy", path)
	}
	if err != nil {
		return hint.Wrap(fmt.Errorf("identity %s: it holds no private key of age or SSH", path), "want a file of age-keygen, or a private key of SSH (ed25519 or RSA)") // what it holds is not told
	}
	i.keys = append(i.keys, keys...)
	return nil
}

func readKeys(path string) ([]byte, error) {
	if private(path) { // and it is not repeated here
		return nil, hint.Wrap(errors.New("it is a private key itself; do not show it to anybody"), "name the file that holds the key")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeys+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeys {
		return nil, fmt.Errorf("%s has more than %d bytes: those are no keys", path, maxKeys)
	}
	return text, nil
}
