// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/hint"
)

// format is the version of a manifest: a refit refuses those that are newer than itself.
const format = 1

// ErrNewer says of a set that this refit does not know its format.
var ErrNewer = errors.New("a newer refit wrote it")

// ErrFormat says of a set that the deltas of who wrote it are not known to this refit.
var ErrFormat = errors.New("another refit wrote it")

// maxSnapshot is more bytes than any snapshot has: two of them can still be added.
const maxSnapshot = 1 << 50

// Manifest is what is known of a set without a key.
type Manifest struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	// Created is when the set was begun.
	Created time.Time `json:"created"`
	// Cluster tells clusters apart.
	Cluster Cluster `json:"cluster"`
	// Snapshot is the file that a restore starts with.
	Snapshot Snapshot `json:"snapshot"`
	// Base is the full that the snapshot is a delta of; nil says that the set is a full.
	Base *Base `json:"base,omitempty"`
	// Resources and Members are those of etcd.Status.
	Resources []etcd.Resource `json:"resources"`
	Members   []etcd.Member   `json:"members"`
	Versions  Versions        `json:"versions"`
	Source    Source          `json:"source"`
	// Files are those of the machine, sorted by path.
	Files []FileInfo `json:"files"`
	// Recipients are the public keys it is encrypted to; none says that it is not encrypted.
	Recipients []string `json:"recipients"`
	// Parts are the objects with the content.
	Parts []Part `json:"parts"`
}

// Snapshot is what is known of the snapshot's file, from etcd.Status.
type Snapshot struct {
	Bytes int64 `json:"bytes"`
	// SHA256 is that of the whole file, in hex.
	SHA256          string `json:"sha256"`
	Revision        int64  `json:"revision"`
	CompactRevision int64  `json:"compactRevision"`
	Hash            uint32 `json:"hash"`
	HashKV          uint32 `json:"hashKV"`
	Keys            int    `json:"keys"`
	TotalKeys       int    `json:"totalKey"`
	Objects         int    `json:"objects"`
}

// Base is the full that a delta needs.
type Base struct {
	Name string `json:"name"`
	// Bytes and SHA256 are those of its snapshot.
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// is tells whether the full is the one that the delta was made of.
func (b *Base) is(m *Manifest) bool {
	return m.Base == nil && m.Name == b.Name && m.Snapshot.SHA256 == b.SHA256 && m.Snapshot.Bytes == b.Bytes
}

// Versions are "" where they are not known.
type Versions struct {
	Refit string `json:"refit"`
	Etcd  string `json:"etcd"`
	// Storage is that of etcd's file.
	Storage    string `json:"storage,omitempty"`
	Kubernetes string `json:"kubernetes,omitempty"`
	Kubelet    string `json:"kubelet,omitempty"`
}

// Source is where the set comes from.
type Source struct {
	Endpoint string `json:"endpoint"`
	Member   string `json:"member"`
	// Machine is the one with the files, "" if none was reached.
	Machine string `json:"machine,omitempty"`
}

// FileInfo is a file of the machine.
type FileInfo struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// Part is an object of the store that belongs to a set.
type Part struct {
	Name string `json:"name"`
	// Bytes and SHA256 are those of the object, as it is stored.
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Stored is how many bytes the set takes in the store, without its manifest.
func (m *Manifest) Stored() int64 {
	var n int64
	for _, p := range m.Parts {
		n += p.Bytes
	}
	return n
}

// Encrypted tells whether a key is needed to read the set.
func (m *Manifest) Encrypted() bool { return len(m.Recipients) > 0 }

// Kind is full or delta.
func (m *Manifest) Kind() string {
	if m.Base != nil {
		return "delta"
	}
	return "full"
}

func (m *Manifest) part(name string) (Part, bool) {
	for _, p := range m.Parts {
		if p.Name == name {
			return p, true
		}
	}
	return Part{}, false
}

// encode is the manifest under its seal.
func (m *Manifest) encode(by *Signer) ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	return sealed(text, manifestPurpose, by)
}

// decodeManifest reads what encode wrote.
func decodeManifest(name string, text []byte) (*Manifest, *Seal, error) {
	body, seal, err := unseal(text, manifestPurpose)
	if err != nil {
		return nil, nil, fmt.Errorf("the manifest of set %s: %w", name, err)
	}
	// The version comes first: what follows may be otherwise.
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(body, &version); err == nil && version.Format > format {
		return nil, nil, hint.Wrap(fmt.Errorf("the manifest of set %s: %w: it has format %d, and this one knows those up to %d", name, ErrNewer, version.Format, format), "use a newer refit")
	}
	m := &Manifest{}
	if err := json.Unmarshal(body, m); err != nil {
		return nil, nil, fmt.Errorf("the manifest of set %s: %w: %w", name, ErrDamaged, err)
	}
	if err := m.check(name); err != nil {
		return nil, nil, fmt.Errorf("the manifest of set %s: %w: %w", name, ErrDamaged, err)
	}
	return m, seal, nil
}

// check refuses what would lead elsewhere.
func (m *Manifest) check(name string) error {
	if m.Format < 1 || m.Name != name {
		return fmt.Errorf("it is that of %q, format %d", m.Name, m.Format)
	}
	if at := m.Created.UTC().Format(timeLayout); !strings.HasPrefix(name, at+"-") { // it decides what is removed
		return fmt.Errorf("it says that it was begun at %s, and its name another time", at)
	}
	if len(m.Parts) > 2 {
		return fmt.Errorf("it has %d parts", len(m.Parts))
	}
	if _, ok := m.part(snapshotPart); !ok {
		return fmt.Errorf("it has no part %q", snapshotPart)
	}
	for _, p := range m.Parts {
		if p.Name != snapshotPart && p.Name != filesPart || p.Bytes <= 0 {
			return fmt.Errorf("it has a part %q of %d bytes", p.Name, p.Bytes)
		}
	}
	if m.Base != nil && (!isName(m.Base.Name) || m.Base.Name == name) {
		return fmt.Errorf("its base is called %q", m.Base.Name)
	}
	if m.Snapshot.Bytes <= 0 || m.Snapshot.Bytes > maxSnapshot {
		return fmt.Errorf("its snapshot has %d bytes", m.Snapshot.Bytes)
	}
	if m.Base != nil && (m.Base.Bytes <= 0 || m.Base.Bytes > maxSnapshot) {
		return fmt.Errorf("the snapshot of its base has %d bytes", m.Base.Bytes)
	}
	return nil
}
