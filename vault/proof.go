// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/hint"
)

// Proof tells that a set was fetched, decrypted and restored, and what was seen then.
type Proof struct {
	Format int    `json:"format"`
	Set    string `json:"set"`
	// Manifest is the SHA-256 of the manifest, in hex: a proof is of no other set.
	Manifest string    `json:"manifest"`
	Proven   time.Time `json:"proven"`
	// Refit is the version that has proven it, Etcd the one that served the restored data.
	Refit string `json:"refit"`
	Etcd  string `json:"etcd"`
	// The rest is that of etcd.Proof.
	Revision  int64  `json:"revision"`
	Keys      int    `json:"keys"`
	HashKV    uint32 `json:"hashKV"`
	Decoded   int    `json:"decoded"`
	Decrypted int    `json:"decrypted"`
	Encrypted int    `json:"encrypted"`
	Unknown   int    `json:"unknown"`
	// Files is how many files of the machine could be read.
	Files int `json:"files"`
	// Served is what an API server has listed of it, nil if none was asked.
	Served *etcd.Served `json:"served,omitempty"`
	// Seconds is how long it took.
	Seconds float64 `json:"seconds"`
}

// proof reads the proof of a set, nil if there is none that counts: what is damaged, of
// another manifest, or not signed by whom is trusted, proves nothing.
func (s *Store) proof(ctx context.Context, m *Manifest, of *Seal, trust *Verifier) (*Proof, error) {
	p, seal, err := s.anyProof(ctx, m, of)
	if err != nil || p == nil || seal.by(trust) != nil {
		return nil, err
	}
	return p, nil
}

// anyProof is the same, whoever has signed it.
func (s *Store) anyProof(ctx context.Context, m *Manifest, of *Seal) (*Proof, *Seal, error) {
	text, err := s.getSmall(ctx, proofKey(m.Name), maxProof)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	body, seal, err := unseal(text, proofPurpose)
	p := &Proof{}
	if err != nil || json.Unmarshal(body, p) != nil || p.Set != m.Name || p.Manifest != of.SHA256 {
		return nil, nil, nil //nolint:nilerr // it is as if there were none
	}
	return p, seal, nil
}

// Prover proves that sets can be restored.
type Prover struct {
	Reader
	Worker etcd.Worker
	// Sign is nil if nothing is signed.
	Sign *Signer
	// Stays is told of a signed proof of before that stays in the store in place of the new one, which
	// whoever asks for that signature would not believe; nil does without.
	Stays func(before *Proof)
	// Refit is the version of this refit.
	Refit string
	// Serve starts an API server on what the file of a snapshot holds, in a new directory under scratch, and lists it all; nil
	// does without. Its error is etcd.ErrUnproven if something cannot be listed.
	Serve func(ctx context.Context, file, scratch string, status *etcd.Status) (*etcd.Served, error)
}

// Prove fetches a set, compares it with its manifest, decrypts it, decodes each object, restores it
// into a scratch directory and starts etcd there (etcd.Worker.Verify). Then it writes that down in
// the store, unless a better signed proof is there (Stays). The error is ErrDamaged if the set is not what was written: then a proof of before is
// taken back. It is ErrDamaged or ErrUnproven of package etcd if the snapshot that was fetched could not
// be restored here.
func (p Prover) Prove(ctx context.Context, name string) (_ *Proof, _ *Manifest, err error) {
	began := p.Store.clock.Now()
	m, seal, err := p.Store.Find(ctx, name, p.Trust)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		// What etcd says may be this machine's fault: no memory, a full disk.
		if errors.Is(err, ErrDamaged) {
			err = errors.Join(err, p.Store.remove(ctx, proofKey(m.Name)))
		}
	}()
	dir, remove, err := scratch(p.Scratch, "refit-verify-set-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	files, err := p.Files(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, "snapshot.db")
	if err := p.Snapshot(ctx, m, file); err != nil {
		return nil, nil, err
	}
	seen, err := p.Worker.VerifyDecrypted(ctx, file, dir, encryptionConfig(files))
	if err != nil {
		return nil, nil, fmt.Errorf("set %s: %w", m.Name, err)
	}
	if err := m.compare(seen); err != nil {
		return nil, nil, hint.Wrap(fmt.Errorf("set %s: %w", m.Name, err), "save another one")
	}
	if p.Serve != nil {
		if seen.Served, err = p.Serve(ctx, file, dir, seen.Status); err != nil {
			return nil, nil, fmt.Errorf("set %s: %w", m.Name, err)
		}
	}
	now := p.Store.clock.Now()
	proof := &Proof{
		Format: format, Set: m.Name, Manifest: seal.SHA256, Proven: now.UTC(), Refit: p.Refit, Etcd: seen.Etcd,
		Revision: seen.Revision, Keys: seen.Keys, HashKV: seen.HashKV, Decoded: seen.Decoded, Decrypted: seen.Decrypted, Encrypted: seen.Encrypted, Unknown: seen.Unknown,
		Files: len(files), Served: seen.Served, Seconds: now.Sub(began).Seconds(),
	}
	return proof, m, p.write(ctx, m, seal, proof)
}

// write writes a proof down. One that is signed as the set is, or at all if the set is not, is not
// replaced by one that is not: prune --verify-key would no longer know that the set is proven.
func (p Prover) write(ctx context.Context, m *Manifest, of *Seal, proof *Proof) error {
	before, seal, err := p.Store.anyProof(ctx, m, of)
	if err != nil {
		return hint.Wrap(fmt.Errorf("set %s is proven, which could not be written down: the proof of before: %w", proof.Set, err), "see whether the store may be read")
	}
	if before != nil && seal.vouches(of) && !p.Sign.vouches(of) {
		if p.Stays != nil {
			p.Stays(before)
		}
		return nil
	}
	body, err := json.MarshalIndent(proof, "", "  ")
	if err != nil {
		return fmt.Errorf("write the proof of set %s: %w", proof.Set, err)
	}
	text, err := sealed(body, proofPurpose, p.Sign)
	if err != nil {
		return err
	}
	if err := p.Store.putSmall(ctx, proofKey(proof.Set), text); err != nil {
		return hint.Wrap(fmt.Errorf("set %s is proven, which could not be written down: %w", proof.Set, err), "see whether the store may be written to")
	}
	return nil
}

// compare holds what was seen against what the manifest says.
func (m *Manifest) compare(seen *etcd.Proof) error {
	s := seen.Status
	for _, c := range []struct {
		what      string
		got, want int64
	}{
		{"revision", s.Revision, m.Snapshot.Revision},
		{"number of keys", int64(s.Keys), int64(m.Snapshot.Keys)},
		{"number of objects", int64(s.Objects()), int64(m.Snapshot.Objects)},
		{"hash", int64(s.Hash), int64(m.Snapshot.Hash)},
		{"HashKV", int64(seen.HashKV), int64(m.Snapshot.HashKV)},
	} {
		if c.got != c.want {
			return fmt.Errorf("%w: the %s is %d, and %d in the manifest", ErrDamaged, c.what, c.got, c.want)
		}
	}
	if s.ClusterUID != m.Cluster.UID {
		return fmt.Errorf("%w: it is of the cluster %q, and of %q in the manifest", ErrDamaged, s.ClusterUID, m.Cluster.UID)
	}
	return nil
}
