// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sealed encrypts to age recipients and decrypts with age identities (https://age-encryption.org): X25519
// keys, hybrid ones, and the SSH keys that people have already.
package sealed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"

	"refit.dev/refit/internal/hint"
)

// limit is how many bytes of a file with keys are read.
const limit = 1 << 20

// Recipients are who can read what is encrypted.
type Recipients struct {
	all  []age.Recipient
	text []string
}

// ParseRecipients reads recipients, each as age and ssh write them (age1..., ssh-ed25519 ..., ssh-rsa ...), and files of them,
// one a line, where # begins a comment. At least one is wanted.
func ParseRecipients(texts, files []string) (*Recipients, error) {
	r := &Recipients{}
	for _, text := range texts {
		if err := r.add(text); err != nil {
			return nil, err
		}
	}
	for _, file := range files {
		text, err := read(file)
		if err != nil {
			return nil, err
		}
		for n, line := range strings.Split(string(text), "\n") {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			if err := r.add(line); err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", file, n+1, err)
			}
		}
	}
	if len(r.all) == 0 {
		return nil, hint.Wrap(errors.New("there is no recipient to encrypt to"), "age-keygen makes a key; --recipient takes its public part, or a public SSH key")
	}
	slices.Sort(r.text)
	r.text = slices.Compact(r.text)
	return r, nil
}

func (r *Recipients) add(text string) error {
	text = strings.TrimSpace(text)
	var (
		recipient age.Recipient
		err       error
	)
	switch {
	case strings.HasPrefix(text, "AGE-SECRET-KEY-"):
		return hint.Wrap(errors.New("a recipient is a secret key"), "give its public part: age-keygen -y FILE prints it")
	case strings.HasPrefix(text, "ssh-"):
		recipient, err = agessh.ParseRecipient(text)
	default:
		var parsed []age.Recipient
		if parsed, err = age.ParseRecipients(strings.NewReader(text)); err == nil {
			recipient = parsed[0]
		}
	}
	if err != nil {
		return fmt.Errorf("recipient %q: want age1... or a public SSH key of type ssh-ed25519 or ssh-rsa", text)
	}
	r.all = append(r.all, recipient)
	r.text = append(r.text, text)
	return nil
}

// Names are the recipients as they were given, sorted, each once.
func (r *Recipients) Names() []string { return r.text }

// Encrypt encrypts a text into the armour of age, which is text as well.
func (r *Recipients) Encrypt(text []byte) ([]byte, error) {
	var b bytes.Buffer
	a := armor.NewWriter(&b)
	w, err := age.Encrypt(a, r.all...)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if err := errors.Join(w.Close(), a.Close()); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return b.Bytes(), nil
}

// Identities are keys that decrypt. Without one nothing can be decrypted.
type Identities struct{ all []age.Identity }

// ReadIdentities reads files with identities of age, or with a private SSH key without a passphrase.
func ReadIdentities(files []string) (*Identities, error) {
	i := &Identities{}
	for _, file := range files {
		text, err := read(file)
		if err != nil {
			return nil, err
		}
		if bytes.Contains(text, []byte("-----BEGIN")) {
			identity, err := agessh.ParseIdentity(text)
			if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
				return nil, hint.Wrap(fmt.Errorf("%s is protected by a passphrase", file), "give a key without one, or decrypt with age itself")
			}
			if err != nil {
				return nil, fmt.Errorf("%s is no private SSH key that age can use: want one of type ed25519 or rsa", file)
			}
			i.all = append(i.all, identity)
			continue
		}
		identities, err := age.ParseIdentities(bytes.NewReader(text))
		if err != nil { // it may quote a line of the file
			return nil, fmt.Errorf("%s holds no identities of age", file)
		}
		i.all = append(i.all, identities...)
	}
	return i, nil
}

// Decrypt decrypts what was encrypted for one of the identities, with armour or without.
func (i *Identities) Decrypt(text []byte) ([]byte, error) {
	if i == nil || len(i.all) == 0 {
		return nil, hint.Wrap(errors.New("it is encrypted"), "name the file of a key that can decrypt it: --identity FILE")
	}
	var from io.Reader = bytes.NewReader(text)
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte(armor.Header)) {
		from = armor.NewReader(from)
	}
	r, err := age.Decrypt(from, i.all...)
	if _, none := errors.AsType[*age.NoIdentityMatchError](err); none {
		return nil, errors.New("it is encrypted for other keys than those given")
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("decrypt: it is damaged: %w", err)
	}
	return plain, nil
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if len(text) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes: those are no keys", file, limit)
	}
	return text, nil
}
