// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob:
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/gcsblob" // gs:
	_ "gocloud.dev/blob/s3blob"  // s3:
	"k8s.io/utils/clock"

	"refit.dev/refit/internal/hint"
)

// ErrNotFound says that a store has no such set.
var ErrNotFound = errors.New("there is no such set")

// DefaultPatience is how long a store may take between two signs of life. What is on its
// way when an upload ends are some parts of 5 MiB, which have to arrive in this time.
const DefaultPatience = 2 * time.Minute

// Store holds sets.
type Store struct {
	where    Location
	bucket   *blob.Bucket
	dir      string // of a store that is a directory
	clock    clock.Clock
	patience time.Duration
	// step hears of what is about to be done or was done with an object, in tests; its error is as if the
	// process had ended there.
	step func(what, key string) error
}

// Open opens a store; a bucket is not asked yet. create makes a directory that is not there. Patience is
// DefaultPatience if it is 0. The store has to be closed.
func Open(ctx context.Context, where Location, c clock.Clock, patience time.Duration, create bool) (*Store, error) {
	s := &Store{where: where, clock: c, patience: patience}
	if s.patience == 0 {
		s.patience = DefaultPatience
	}
	var err error
	if where.scheme == "file" {
		s.dir = where.path
		// No side files, and what is written aside lies where it is renamed to.
		s.bucket, err = fileblob.OpenBucket(where.path, &fileblob.Options{CreateDir: create, DirFileMode: 0o700, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	} else {
		s.bucket, err = openBucket(ctx, where)
	}
	if err == nil {
		return s, nil
	}
	err = fmt.Errorf("open the store %s: %w", where, plainly(err))
	if hint.Of(err) != "" {
		return nil, err
	}
	return nil, hint.Wrap(err, "see that it is there, and that its credentials are where its own tools look for them")
}

// openBucket opens a bucket, or what begins with the prefix in it.
func openBucket(ctx context.Context, where Location) (*blob.Bucket, error) {
	if where.scheme == "gs" {
		if err := knowsGoogle(ctx, where); err != nil {
			return nil, err
		}
	}
	root := where
	root.path = ""
	bucket, err := blob.OpenBucket(ctx, root.String())
	if err == nil && where.path != "" {
		bucket = blob.PrefixedBucket(bucket, where.path+"/")
	}
	return bucket, err
}

// Where is the store's URL.
func (s *Store) Where() Location { return s.where }

// Close gives the store up.
func (s *Store) Close() error { return s.bucket.Close() }

// stored is what is known of an object that was written.
type stored struct {
	bytes int64
	// sum is the SHA-256, in hex.
	sum string
}

// at says where a process is with an object.
func (s *Store) at(what, key string) error {
	if s.step == nil {
		return nil
	}
	return s.step(what, key)
}

// put writes an object; fill writes its content, and calls alive when it goes on without writing. It is there if the error is nil, and
// as long as it should be: the store is asked again. After an error there may be something or nothing.
func (s *Store) put(ctx context.Context, key string, fill func(to io.Writer, alive func() error) error) (_ stored, err error) {
	ctx, alive, done := s.watched(ctx)
	defer done()
	if err := s.at("write", key); err != nil {
		return stored{}, err
	}
	var file *os.File
	w, err := s.bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/octet-stream", BeforeWrite: func(as func(any) bool) error {
		if as(&file) {
			return file.Chmod(0o600)
		}
		return nil
	}})
	if err != nil {
		return stored{}, s.failed(ctx, "write", key, err)
	}
	sum := newMeter(&busy{w, alive})
	if err = fill(sum, alive); err == nil && file != nil {
		err = file.Sync()
	}
	if err == nil {
		err = s.at("close", key)
	}
	if err != nil {
		done() // the object is given up only if the context has ended before
		_ = w.Close()
		return stored{}, s.failed(ctx, "write", key, err)
	}
	if err := w.Close(); err != nil {
		return stored{}, s.failed(ctx, "write", key, err)
	}
	if err := s.syncDirs(key); err != nil {
		return stored{}, s.failed(ctx, "write", key, err)
	}
	if err := alive(); err != nil {
		return stored{}, s.failed(ctx, "write", key, err)
	}
	there, err := s.bucket.Attributes(ctx, key)
	if err == nil && there.Size != sum.bytes {
		err = fmt.Errorf("it has %d bytes there, and %d were written", there.Size, sum.bytes)
	}
	if err != nil {
		return stored{}, hint.Wrap(s.failed(ctx, "look again at", key, err), "the store said that the object was written, which is not so: nothing of this set is listed; save again, and mistrust the store")
	}
	return stored{sum.bytes, sum.hex()}, s.at("written", key)
}

// putSmall writes an object that fits into memory, and reads it back.
func (s *Store) putSmall(ctx context.Context, key string, content []byte) error {
	if _, err := s.put(ctx, key, func(w io.Writer, _ func() error) error {
		_, err := w.Write(content)
		return err
	}); err != nil {
		return err
	}
	again, err := s.getSmall(ctx, key, maxSmall)
	if err == nil && !bytes.Equal(again, content) {
		err = fmt.Errorf("%s: %s in the store is not what was written", s.where, key)
	}
	return err
}

// maxSmall is the size of the largest manifest, and maxProof that of the largest proof, in bytes.
const (
	maxSmall = 16 << 20
	maxProof = 64 << 10
)

// getSmall reads an object that fits into memory. The error is ErrNotFound if there is none, and
// ErrDamaged if it is longer than limit.
func (s *Store) getSmall(ctx context.Context, key string, limit int) ([]byte, error) {
	var text []byte
	err := s.get(ctx, key, func(r io.Reader, _ func() error) (err error) {
		if text, err = io.ReadAll(io.LimitReader(r, int64(limit)+1)); err == nil && len(text) > limit {
			err = fmt.Errorf("%w: it has more than %d bytes", ErrDamaged, limit)
		}
		return err
	})
	return text, err
}

// get reads an object; use calls alive when it goes on without reading. The error is ErrNotFound if there is none.
func (s *Store) get(ctx context.Context, key string, use func(from io.Reader, alive func() error) error) error {
	if err := s.regular(key); err != nil {
		return s.failed(ctx, "read", key, err)
	}
	ctx, alive, done := s.watched(ctx)
	defer done()
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return s.failed(ctx, "read", key, err)
	}
	defer r.Close()
	if err := use(&lively{r, alive}, alive); err != nil {
		return s.failed(ctx, "read", key, err)
	}
	return nil
}

// regular refuses, with ErrDamaged, what is no file in a store that is a directory: no context ends the opening of a
// pipe that nobody writes to. A link counts as what it leads to.
func (s *Store) regular(key string) error {
	if s.dir == "" {
		return nil
	}
	info, err := os.Stat(filepath.Join(s.dir, filepath.FromSlash(key)))
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is no regular file", ErrDamaged)
	}
	return nil // what else is wrong is said by who opens it
}

// object is one of a listing.
type object struct {
	key      string
	bytes    int64
	modified time.Time
}

// list lists the objects whose keys begin with prefix, sorted by key.
func (s *Store) list(ctx context.Context, prefix string) ([]object, error) {
	ctx, alive, done := s.watched(ctx)
	defer done()
	var all []object
	it := s.bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, s.failed(ctx, "list", prefix, err)
		}
		if err := alive(); err != nil {
			return nil, s.failed(ctx, "list", prefix, err)
		}
		all = append(all, object{o.Key, o.Size, o.ModTime})
	}
}

// remove removes an object, which may be gone already.
func (s *Store) remove(ctx context.Context, key string) error {
	if err := s.at("remove", key); err != nil {
		return err
	}
	ctx, _, done := s.watched(ctx)
	defer done()
	if err := s.bucket.Delete(ctx, key); err != nil && !isNotFound(err) {
		return s.failed(ctx, "remove", key, err)
	}
	if s.dir == "" {
		return nil
	}
	dir := filepath.Dir(filepath.Join(s.dir, filepath.FromSlash(key)))
	if filepath.Dir(dir) == filepath.Join(s.dir, dataDir) {
		_ = os.Remove(dir) // it stays while something is in it
		dir = filepath.Dir(dir)
	}
	return syncPath(dir)
}

// syncDirs makes the name of a file that was written outlive a loss of power.
func (s *Store) syncDirs(key string) error {
	if s.dir == "" {
		return nil
	}
	for dir := filepath.Dir(filepath.Join(s.dir, filepath.FromSlash(key))); ; dir = filepath.Dir(dir) {
		if err := syncPath(dir); err != nil {
			return err
		}
		if dir == s.dir || len(dir) < len(s.dir) {
			return nil
		}
	}
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
