// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/vault"
	"refit.dev/refit/vault/seal"
)

// storeFlags say how a store is talked to.
type storeFlags struct{ patience time.Duration }

func (f *storeFlags) add(flags *pflag.FlagSet) {
	flags.DurationVar(&f.patience, "stall-timeout", vault.DefaultPatience, "how long a store may give no sign of life")
}

// open opens the store at a URL; create makes its directory.
func (f *storeFlags) open(ctx context.Context, where vault.Location, create bool) (*vault.Store, error) {
	if f.patience <= 0 {
		return nil, usageError(errors.New("--stall-timeout: want a time above 0"))
	}
	s, err := vault.Open(ctx, where, clock.RealClock{}, f.patience, create)
	return s, usageError(err)
}

// trustFlags say whose sets are taken.
type trustFlags struct{ verifyKey string }

func (f *trustFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.verifyKey, "verify-key", "", "the file of an ed25519 public key: take only sets that are signed by it (default: any)")
}

func (f *trustFlags) read() (*vault.Verifier, error) {
	if f.verifyKey == "" {
		return nil, nil
	}
	v, err := vault.ReadVerifier(f.verifyKey)
	return v, usageError(err)
}

// readFlags say how a set is read.
type readFlags struct {
	storeFlags
	trustFlags
	identities []string
}

func (f *readFlags) add(flags *pflag.FlagSet) {
	f.storeFlags.add(flags)
	f.trustFlags.add(flags)
	f.addIdentity(flags)
}

func (f *readFlags) addIdentity(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.identities, "identity", "i", nil, "the file of a private key to decrypt with, of age or SSH (can be repeated)")
}

// keys reads the private keys.
func (f *readFlags) keys() (seal.Identities, error) {
	keys, err := seal.ReadIdentities(f.identities)
	return keys, usageError(err)
}

// reader opens the store of a set, and returns the set's name or "latest". The store has to be closed.
func (f *readFlags) reader(ctx context.Context, set, scratch string) (*vault.Reader, string, error) {
	where, name, err := vault.ParseSet(set)
	if err != nil {
		return nil, "", usageError(err)
	}
	r := &vault.Reader{Scratch: scratch}
	if r.By, err = f.keys(); err != nil {
		return nil, "", err
	}
	if r.Trust, err = f.trustFlags.read(); err != nil {
		return nil, "", err
	}
	r.Store, err = f.open(ctx, where, false)
	return r, name, err
}

// writeFlags say how sets are sealed.
type writeFlags struct {
	recipients, files []string
	plaintext         bool
	signKey           string
}

func (f *writeFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.recipients, "recipient", "r", nil, "a public key to encrypt to: age1..., ssh-ed25519 ... or ssh-rsa ... (can be repeated)")
	flags.StringArrayVar(&f.files, "recipients-file", nil, "a file of public keys to encrypt to, one on a line (can be repeated)")
	flags.BoolVar(&f.plaintext, "plaintext", false, "do not encrypt: whoever can read the store gets every Secret and the keys of the cluster")
	f.addSignKey(flags)
}

func (f *writeFlags) addSignKey(flags *pflag.FlagSet) {
	flags.StringVar(&f.signKey, "sign-key", "", "the file of an ed25519 private key to sign with, of OpenSSH or PKCS #8")
}

// to reads the public keys. Nothing with keys in it is left open by mistake.
func (f *writeFlags) to() (seal.Recipients, error) {
	named := len(f.recipients)+len(f.files) > 0
	switch {
	case !named && !f.plaintext:
		return seal.Recipients{}, usageError(hint.Wrap(errors.New("a set holds every Secret and the keys of the cluster, and nobody is named to encrypt it to"),
			"name somebody with --recipient age1... (age-keygen makes a pair of keys), or say --plaintext"))
	case !named:
		return seal.Recipients{}, nil
	}
	to, err := seal.ReadRecipients(f.recipients, f.files)
	if err == nil && f.plaintext {
		err = errors.New("--plaintext and --recipient exclude each other")
		if len(f.recipients) == 0 {
			err = errors.New("--plaintext and --recipients-file exclude each other")
		}
	}
	return to, usageError(err)
}

// signer reads the private key, nil if none is given.
func (f *writeFlags) signer() (*vault.Signer, error) {
	if f.signKey == "" {
		return nil, nil
	}
	s, err := vault.ReadSigner(f.signKey)
	return s, usageError(err)
}
