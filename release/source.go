// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/skew"
)

// Source is a place with releases. It is safe for use by several goroutines.
type Source struct {
	text  string
	place place
	cache string

	mu    sync.Mutex
	known map[File]Binary // checked by this Source
	turns map[File]*sync.Mutex
}

// place is where files are read from. A file that is not there is fs.ErrNotExist.
type place interface {
	open(ctx context.Context, path string) (io.ReadCloser, error)
	// releases lists the versions of a minor, as far as the place can tell.
	releases(ctx context.Context, minor int) ([]string, error)
	// local returns the path of a file on this machine; "" if it has to be fetched.
	local(path string) string
}

// File is one binary of a release.
type File struct {
	Version skew.Version
	// Arch is the processor as Go names it: amd64.
	Arch string
	Name string
}

// Path is where a release has the file.
func (f File) Path() string { return fmt.Sprintf("%s/bin/linux/%s/%s", f.Version, f.Arch, f.Name) }

// Binary is a file on this machine whose sums were checked.
type Binary struct {
	Path   string
	SHA256 string // in hexadecimal
	Size   int64
}

// ErrMissing says that a place does not have a file.
var ErrMissing = errors.New("it is not there")

var plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// Open returns the Source that text names: a directory, a file:// or an https:// URL. What
// is fetched is kept under the directory cache. client is for https; nil is one of its own.
// The directory has to be there; nothing else is looked at.
func Open(text, cache string, client *http.Client) (*Source, error) {
	s := &Source{cache: cache, known: map[File]Binary{}, turns: map[File]*sync.Mutex{}}
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("no place is named")
	case err != nil:
		return nil, errors.New("it is neither a directory nor a URL")
	case u.User != nil, u.Scheme == "https" && (u.RawQuery != "" || u.Fragment != ""):
		return nil, errors.New("a URL with a login or a query would end up in journals: want https://HOST/PATH alone")
	case u.Scheme == "https" && u.Host != "":
		s.text = strings.TrimRight(u.String(), "/")
		s.place = remote{base: s.text, client: safe(client)}
		return s, nil
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && u.Path != "":
		text = u.Path
	case u.Scheme != "":
		return nil, hint.Wrap(fmt.Errorf("%s: nobody could tell what comes over that", u.Scheme), "use a directory, or a URL that begins with file:/// or https://")
	}
	if text, err = filepath.Abs(text); err != nil {
		return nil, err
	}
	info, err := os.Stat(text)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s: it is no directory", text)
	}
	if err != nil {
		return nil, err
	}
	s.text, s.place = text, directory(text)
	return s, nil
}

// String is the place: an absolute path, or a URL.
func (s *Source) String() string { return s.text }

// Releases lists the releases of a minor that the place tells of, oldest first: the
// directories in a directory; over https what stable-1.MINOR.txt names, as nothing can be
// listed there. A release may be there and not be told of. Pre-releases are left out.
func (s *Source) Releases(ctx context.Context, minor int) ([]skew.Version, error) {
	names, err := s.place.releases(ctx, minor)
	if err != nil {
		return nil, fmt.Errorf("look for releases of 1.%d in %s: %w", minor, s, err)
	}
	var list []skew.Version
	for _, name := range names {
		v, err := skew.Parse(name)
		if err == nil && v.Minor == minor && v.Patch != skew.Unknown && !v.Prerelease() && v.String() == name {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, skew.Version.Compare)
	return list, nil
}

// Has tells whether the place has a binary with a sum.
func (s *Source) Has(ctx context.Context, f File) (bool, error) {
	sums, err := s.sums(ctx, f)
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	return len(sums) > 0, err
}

// Fetch returns a binary whose sums were checked, and that can be run by its mode: one that is
// not to be run in its directory, as downloads are not, is copied to the cache. The error is
// ErrMissing if the place has none, or no sum of it.
func (s *Source) Fetch(ctx context.Context, f File) (Binary, error) {
	if !plainName.MatchString(f.Name) || !plainName.MatchString(f.Arch) || f.Version.Patch == skew.Unknown {
		return Binary{}, fmt.Errorf("%q is no binary of a release", f.Path())
	}
	defer s.turn(f)()
	s.mu.Lock()
	known, there := s.known[f]
	s.mu.Unlock()
	if there {
		return known, nil
	}
	sums, err := s.sums(ctx, f)
	if err != nil {
		return Binary{}, err
	}
	path := s.place.local(f.Path())
	if path == "" || !toBeRun(path) {
		if path, err = s.cached(ctx, f, sums); err != nil {
			return Binary{}, fmt.Errorf("fetch %s from %s: %w", f.Path(), s, err)
		}
	}
	b, err := check(path, sums)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrMissing
	}
	if err != nil {
		return Binary{}, fmt.Errorf("%s in %s: %w", f.Path(), s, err)
	}
	s.mu.Lock()
	s.known[f] = b
	s.mu.Unlock()
	return b, nil
}

// turn has a file be fetched once at a time.
func (s *Source) turn(f File) (done func()) {
	s.mu.Lock()
	if s.turns[f] == nil {
		s.turns[f] = &sync.Mutex{}
	}
	turn := s.turns[f]
	s.mu.Unlock()
	turn.Lock()
	return turn.Unlock
}
