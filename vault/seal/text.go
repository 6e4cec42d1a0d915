// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"

	"refit.dev/refit/internal/hint"
)

// Encrypt encrypts a text to the recipients, into the armour of age. At least one is wanted.
func (r Recipients) Encrypt(text []byte) ([]byte, error) {
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, r.keys...)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = errors.Join(w.Close(), a.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return out.Bytes(), nil
}

// Decrypt decrypts what Encrypt made, or age itself, with armour or without. The error is ErrNoKey
// if none of the identities fits.
func (i Identities) Decrypt(text []byte) ([]byte, error) {
	if i.None() {
		return nil, hint.Wrap(noneGiven{}, "name the file of a key that can decrypt it: --identity FILE")
	}
	var from io.Reader = bytes.NewReader(text)
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte(armor.Header)) {
		from = armor.NewReader(from)
	}
	r, err := age.Decrypt(from, i.keys...)
	if _, none := errors.AsType[*age.NoIdentityMatchError](err); none {
		return nil, hint.Wrap(ErrNoKey, "give the private key of one of its recipients: --identity FILE")
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
