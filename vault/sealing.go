// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"refit.dev/refit/internal/hint"
)

// ErrDamaged says of a set that something in it is not what was written.
var ErrDamaged = errors.New("it is damaged")

// ErrUntrusted says of a set that it is not signed by the key that was asked for.
var ErrUntrusted = errors.New("it is not signed by the key that was asked for")

// What is signed begins with what it is for, so that no signature can be carried over to something else.
const (
	manifestPurpose = "refit backup manifest 1\n"
	proofPurpose    = "refit backup proof 1\n"
)

// Seal follows a document, on a line of its own.
type Seal struct {
	// SHA256 is that of all bytes before the seal's line.
	SHA256 string `json:"sha256"`
	// Key is the public key in the form of OpenSSH, and Signature that of ed25519 (RFC 8032) over
	// the purpose and all bytes before the seal's line; both are "" if nobody has signed.
	Key       string `json:"key,omitempty"`
	Signature []byte `json:"signature,omitempty"`
}

// Signer signs.
type Signer struct{ key ed25519.PrivateKey }

// ReadSigner reads a private key of ed25519: of OpenSSH (ssh-keygen -t ed25519) or PKCS #8 (openssl
// genpkey), without passphrase.
func ReadSigner(path string) (*Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key to sign with: %w", err)
	}
	if _, err := parsePublic(string(text)); err == nil {
		return nil, hint.Wrap(fmt.Errorf("the key to sign with, %s: it is the public half", path), "name the private one: the file without .pub")
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("the key to sign with, %s: %w", path, err), "want a private key of ed25519 without passphrase: ssh-keygen -t ed25519 -N '' -f KEY")
	}
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return &Signer{k}, nil
	case *ed25519.PrivateKey:
		return &Signer{*k}, nil
	}
	return nil, hint.Wrap(fmt.Errorf("the key to sign with, %s: it is none of ed25519", path), "ssh-keygen -t ed25519 -N '' -f KEY makes one")
}

// Verifier is the public key.
func (s *Signer) Verifier() *Verifier {
	if s == nil {
		return nil
	}
	public, _ := s.key.Public().(ed25519.PublicKey) // it is always one
	return &Verifier{public}
}

// Verifier is a public key that somebody trusts.
type Verifier struct{ key ed25519.PublicKey }

// Equal tells whether it is the same key.
func (v *Verifier) Equal(other *Verifier) bool { return v.key.Equal(other.key) }

// ReadVerifier reads a public key of ed25519: a line of OpenSSH (KEY.pub), or PEM.
func ReadVerifier(path string) (*Verifier, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key that signatures are compared with: %w", err)
	}
	if block, _ := pem.Decode(text); block != nil {
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if k, ok := key.(ed25519.PublicKey); ok {
				return &Verifier{k}, nil
			}
		}
	} else if k, err := parsePublic(string(text)); err == nil {
		return &Verifier{k}, nil
	}
	return nil, hint.Wrap(fmt.Errorf("%s: it is no public key of ed25519", path), "want the file that ends with .pub of the key that signs")
}

func parsePublic(line string) (ed25519.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, err
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if k, ok := c.CryptoPublicKey().(ed25519.PublicKey); ok {
			return k, nil
		}
	}
	return nil, errors.New("it is no key of ed25519")
}

// sealed is a document and its seal.
func sealed(body []byte, purpose string, by *Signer) ([]byte, error) {
	body = append(bytes.Clone(body), '\n')
	sum := sha256.Sum256(body)
	s := Seal{SHA256: hex.EncodeToString(sum[:])}
	if by != nil {
		public, err := ssh.NewPublicKey(by.key.Public())
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		s.Key = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
		s.Signature = ed25519.Sign(by.key, append([]byte(purpose), body...))
	}
	line, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return append(append(body, line...), '\n'), nil
}

// unseal returns the document, which has the SHA-256 and the signature that its seal says.
// Whose signature it is has to be looked at: see Seal.by.
func unseal(text []byte, purpose string) ([]byte, *Seal, error) {
	if len(text) == 0 {
		return nil, nil, fmt.Errorf("%w: it is empty", ErrDamaged)
	}
	end := bytes.LastIndexByte(bytes.TrimSuffix(text, []byte("\n")), '\n')
	if end < 0 || !bytes.HasSuffix(text, []byte("\n")) {
		return nil, nil, fmt.Errorf("%w: it was cut off", ErrDamaged)
	}
	body, line := text[:end+1], text[end+1:]
	s := &Seal{}
	if err := json.Unmarshal(line, s); err != nil {
		return nil, nil, fmt.Errorf("%w: its last line is no seal", ErrDamaged)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != s.SHA256 {
		return nil, nil, fmt.Errorf("%w: it does not have the SHA-256 that stands under it", ErrDamaged)
	}
	if s.Key == "" && len(s.Signature) == 0 {
		return body, s, nil
	}
	key, err := parsePublic(s.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the key of its seal: %w", ErrDamaged, err)
	}
	if !ed25519.Verify(key, append([]byte(purpose), body...), s.Signature) {
		return nil, nil, fmt.Errorf("%w: its signature is wrong", ErrDamaged)
	}
	return body, s, nil
}

// by tells whether the seal is that of a key: the error is ErrUntrusted otherwise. A nil key
// is content with anything.
func (s *Seal) by(v *Verifier) error {
	if v == nil {
		return nil
	}
	if s.Key == "" {
		return fmt.Errorf("%w: nobody has signed it", ErrUntrusted)
	}
	key, err := parsePublic(s.Key)
	if err != nil || !key.Equal(v.key) {
		return fmt.Errorf("%w: it is signed by %s", ErrUntrusted, s.Key)
	}
	return nil
}

// vouches tells whether the seal of a proof is signed by whom the set is signed by, or by anybody if
// nobody has signed the set.
func (s *Seal) vouches(of *Seal) bool {
	if s.Key == "" {
		return false
	}
	if of.Key == "" {
		return true
	}
	key, err := parsePublic(of.Key)
	return err == nil && s.by(&Verifier{key}) == nil
}

// vouches tells the same of a proof that this signer would sign; nil signs none.
func (s *Signer) vouches(of *Seal) bool {
	if s == nil {
		return false
	}
	return of.Key == "" || of.by(s.Verifier()) == nil
}
