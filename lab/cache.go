// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"refit.dev/refit/internal/hint"
)

// cache is what is expensive to make. Each thing in it is a directory with the
// name of the thing and a sum of what it was made of; it is made aside and
// renamed, so it is whole or not there.
type cache struct {
	dir      string // absolute
	source   string // the directory lab of the source tree
	progress Progress
	used     []string // the things that get was asked for
}

// openCache returns the cache in the user's cache directory, for the source
// tree that the working directory is in.
func openCache(ctx context.Context, progress Progress) (*cache, error) {
	root, err := os.UserCacheDir()
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("find the cache directory: %w", err), "set XDG_CACHE_HOME")
	}
	mod, err := command{Argv: []string{"go", "env", "GOMOD"}}.run(ctx)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("find refit's source: %w", err), "install Go: the lab's programs are compiled")
	}
	source := filepath.Join(filepath.Dir(strings.TrimSpace(mod)), "lab")
	if _, err := os.Stat(filepath.Join(source, "build")); err != nil {
		return nil, hint.Wrap(fmt.Errorf("find the modules that a lab is built from: %w", err), "run it inside refit's source tree")
	}
	dir := filepath.Join(root, "refit", "lab")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache directory: %w", err)
	}
	return &cache{dir: dir, source: source, progress: progress}, nil
}

// key is the sum of what a thing is made of: texts, and the contents of files
// where they start with @.
func key(parts ...string) (string, error) {
	h := sha256.New()
	for _, p := range append(parts, runtime.GOARCH) {
		if path, ok := strings.CutPrefix(p, "@"); ok {
			data, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			p = string(data)
		}
		_, _ = fmt.Fprintf(h, "%d %s\n", len(p), p)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:6]), nil
}

// get returns the directory of a thing, and makes it if it is not there: do
// fills an empty directory.
func (c *cache) get(name, key string, do func(dir string) error) (string, error) {
	thing := name + "-" + key
	path := filepath.Join(c.dir, thing)
	c.used = append(c.used, thing)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	aside := path + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return "", fmt.Errorf("remove what was left half-made in the cache: %w", err)
	}
	if err := os.Mkdir(aside, 0o755); err != nil {
		return "", err
	}
	if err := do(aside); err != nil {
		return "", errors.Join(err, os.RemoveAll(aside))
	}
	return path, os.Rename(aside, path)
}

// prune removes what neither this cache was asked for nor keep names: what was
// made of something older.
func (c *cache) prune(keep []string) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(c.used, e.Name()) || slices.Contains(keep, e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.dir, e.Name())); err != nil {
			return fmt.Errorf("remove what is out of date from the cache: %w", err)
		}
	}
	return nil
}
