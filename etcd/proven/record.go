// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package proven

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"refit.dev/refit/internal/statedir"
)

// Record tells of a snapshot that was restored and compared.
type Record struct {
	// Cluster is the UID of the namespace kube-system in it.
	Cluster string `json:"cluster"`
	// Place is where it was: the path of a file, or the URL of a set.
	Place string `json:"place"`
	// Saved is when it was written, Proven when it was restored and compared.
	Saved  time.Time `json:"saved"`
	Proven time.Time `json:"proven"`
	// Revision and SHA256 are the snapshot's; the sum is "" if it ends with none.
	Revision int64  `json:"revision"`
	SHA256   string `json:"sha256,omitempty"`
}

// Store keeps the newest Record of each cluster in files of a directory.
type Store struct{ dir string }

// DefaultStore is in the state directory.
func DefaultStore() (*Store, error) {
	dir, err := statedir.Path("proven")
	if err != nil {
		return nil, err
	}
	return NewStore(dir), nil
}

// NewStore is in a directory that need not be there.
func NewStore(dir string) *Store { return &Store{dir} }

// clusterPattern is what a UID may be: it comes from a snapshot, which anybody may have
// made, and becomes the name of a file.
var clusterPattern = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]{0,63}$`)

// Note keeps a record, unless a newer snapshot of its cluster was proven before. One
// without a cluster, or with a name that no UID has, is not kept.
func (s *Store) Note(r Record) error {
	if !clusterPattern.MatchString(r.Cluster) {
		return nil
	}
	last, err := s.Last(r.Cluster)
	if err == nil && last != nil && last.Saved.After(r.Saved) {
		return nil
	}
	// A record that cannot be read is no reason not to write a better one.
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("note that a backup was proven: %w", err)
	}
	if err := write(s.file(r.Cluster), append(text, '\n')); err != nil {
		return fmt.Errorf("note that a backup was proven: %w", err)
	}
	return nil
}

// Last returns the record of a cluster; nil if there is none.
func (s *Store) Last(cluster string) (*Record, error) {
	if !clusterPattern.MatchString(cluster) {
		return nil, nil
	}
	text, err := os.ReadFile(s.file(cluster))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r Record
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err == nil && (r.Cluster != cluster || r.Saved.IsZero()) {
		err = errors.New("it is the record of something else")
	}
	if err != nil {
		return nil, fmt.Errorf("read which backup was proven last (%s): %w", s.file(cluster), err)
	}
	return &r, nil
}

func (s *Store) file(cluster string) string { return filepath.Join(s.dir, cluster+".json") }

// write puts content into a file that is whole at any time.
func write(path string, content []byte) (err error) {
	aside, err := os.CreateTemp(filepath.Dir(path), ".new-*") // for its owner alone
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(aside.Name()))
		}
	}()
	_, err = aside.Write(content)
	if err == nil {
		err = aside.Sync()
	}
	err = errors.Join(err, aside.Close())
	if err == nil {
		err = os.Rename(aside.Name(), path)
	}
	return err
}
