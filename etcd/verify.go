// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/storage/schema"

	"refit.dev/refit/etcd/atrest"
	"refit.dev/refit/internal/aside"
	"refit.dev/refit/internal/hint"
)

// ErrUnproven says of a whole file that what was restored from it is not the same.
var ErrUnproven = errors.New("the snapshot is not proven")

// Proof is what was seen when a snapshot was restored and etcd was started on it.
type Proof struct {
	Status *Status `json:"status"`
	// Decoded objects could be read, Decrypted ones among them after they were decrypted; Unknown
	// ones are of built-in types that this refit does not know, and Encrypted ones were not tried.
	Decoded   int `json:"decoded"`
	Decrypted int `json:"decrypted"`
	Unknown   int `json:"unknown"`
	Encrypted int `json:"encrypted"`
	// What the etcd that was started says of itself; they are those of Status.
	Revision int64  `json:"revision"`
	Keys     int    `json:"keys"`
	HashKV   uint32 `json:"hashKV"`
	// Etcd is the version that was started.
	Etcd string `json:"etcd"`
	// Served is what an API server listed that was started on it; nil if none was.
	Served *Served `json:"served,omitempty"`
}

// Served is what an API server lists of a snapshot.
type Served struct {
	Kubernetes string `json:"kubernetes"` // its version
	// Resources and Objects are how many could be listed, Encrypted how many objects were
	// not tried.
	Resources int `json:"resources"`
	Objects   int `json:"objects"`
	Encrypted int `json:"encrypted,omitempty"`
}

const scratchPrefix = "refit-verify-"

// Scratch makes a directory in which a snapshot is restored to be looked at. remove has to
// be called in the end; what a process has left that was killed before, the next one removes.
func Scratch(dir string) (path string, remove func() error, err error) {
	path, remove, err = aside.Dir(dir, scratchPrefix)
	if err != nil {
		err = fmt.Errorf("make a directory in %s: %w", dir, err)
	}
	return path, remove, err
}

// Verify proves that the file of a snapshot can be restored: its SHA-256, bbolt's check,
// every object of Kubernetes decoded, restored into a new directory under scratch (the
// system's for temporary files if ""), etcd started there, and its revision, number of keys
// and hash compared with those of the file. It takes as much disk as Restore.
//
// The error is ErrDamaged if the file is not whole, ErrUnproven if etcd does not have the
// same after a restore.
func (w Worker) Verify(ctx context.Context, file, scratch string) (*Proof, error) {
	return w.VerifyDecrypted(ctx, file, scratch, nil)
}

// VerifyDecrypted is Verify with the EncryptionConfiguration of the API server: objects that it
// has the keys for are decrypted and decoded, too. nil has none.
func (w Worker) VerifyDecrypted(ctx context.Context, file, scratch string, encryption []byte) (_ *Proof, err error) {
	if scratch == "" {
		scratch = os.TempDir()
	}
	if err := isFile(file); err != nil {
		return nil, err
	}
	if err := room(file, scratch); err != nil {
		return nil, err
	}
	dir, remove, err := Scratch(scratch)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", file, err)
	}
	defer func() { err = errors.Join(err, remove()) }()
	answer, err := w.ask(ctx, file, request{Verify: &fileRequest{File: file, Scratch: dir, Encryption: encryption}})
	if err != nil {
		return nil, err
	}
	return answer.Proof, nil
}

// prove is what a worker does.
func prove(ctx context.Context, asked fileRequest) (*Proof, error) {
	file := asked.File
	d := &decoding{}
	if len(asked.Encryption) > 0 {
		var err error
		if d.keys, err = atrest.Parse(asked.Encryption); err != nil {
			return nil, fmt.Errorf("decrypt the objects of %s: %w", file, err)
		}
	}
	status, err := readStatus(file, d.object)
	if err != nil {
		return nil, err
	}
	p := &Proof{Status: status, Decoded: d.decoded, Decrypted: d.decrypted, Unknown: d.unknown, Encrypted: d.encrypted}
	if d.bad > 0 {
		return p, hint.Wrap(fmt.Errorf("%s: %w: %d objects cannot be decoded: %s", file, ErrUnproven, d.bad, strings.Join(d.complaints, "; ")),
			"save another snapshot; if it is the same, the API server cannot read them either")
	}
	r := scratchMember(asked.Scratch)
	if err := restore(file, r); err != nil {
		return p, err
	}
	member, err := boot(ctx, r)
	if err != nil {
		return p, fmt.Errorf("%s: %w: %w", file, ErrUnproven, err)
	}
	defer member.Close()
	if err := p.ask(ctx, member); err != nil {
		return p, fmt.Errorf("%s: %w: %w", file, ErrUnproven, err)
	}
	if want := status.bootRevision(); p.Revision != want || p.Keys != status.Keys || p.HashKV != status.HashKV {
		return p, fmt.Errorf("%s: %w: etcd has revision %d, %d keys and hash %08x after it was restored; the file has revision %d, %d keys and hash %08x",
			file, ErrUnproven, p.Revision, p.Keys, p.HashKV, want, status.Keys, status.HashKV)
	}
	return p, nil
}

// bootRevision is the revision at which etcd starts: an empty one is at 1, and one whose last
// changes were deletions that are compacted is where it was compacted
// (go.etcd.io/etcd/server/v3/storage/mvcc, store.restore).
func (s *Status) bootRevision() int64 { return max(1, s.Revision, s.CompactRevision) }

// ask asks the etcd that was started what it has.
func (p *Proof) ask(ctx context.Context, member *member) error {
	client := member.client()
	defer client.Close()
	all, err := client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("count the keys of the restored etcd: %w", err)
	}
	p.Keys, p.Revision = int(all.Count), all.Header.Revision
	hash, err := client.HashKV(ctx, "", p.Revision)
	if err != nil {
		return fmt.Errorf("ask the restored etcd for its hash: %w", err)
	}
	version, err := client.Status(ctx, "")
	if err != nil {
		return fmt.Errorf("ask the restored etcd for its version: %w", err)
	}
	p.HashKV, p.Etcd = hash.Hash, version.Version
	return nil
}

// lastRevision reads the revision of the last change, and nothing else, so that it takes no time.
func lastRevision(file string) (int64, error) {
	var last revision
	err := view(file, func(tx *bbolt.Tx) (err error) {
		b := tx.Bucket(schema.Key.Name())
		if b == nil {
			return fmt.Errorf("%w: it has no bucket %q", ErrDamaged, schema.Key.Name())
		}
		k, _ := b.Cursor().Last()
		if k == nil {
			return nil // nothing was ever written
		}
		last, err = parseRevision(k)
		return err
	})
	return last.main, err
}
