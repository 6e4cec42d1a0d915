// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// directory is a place on this machine.
type directory string

func (d directory) open(_ context.Context, path string) (io.ReadCloser, error) {
	return os.Open(d.local(path))
}

func (d directory) local(path string) string {
	return filepath.Join(string(d), filepath.FromSlash(path))
}

// toBeRun tells whether a file has the mode of a program. One that is not there has no other.
func toBeRun(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().Perm()&0o111 != 0
}

func (d directory) releases(_ context.Context, _ int) ([]string, error) {
	entries, err := os.ReadDir(string(d))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// remote is a place behind https.
type remote struct {
	base   string
	client *http.Client
}

// answerLimit is how long a server may take to begin with an answer, and then to send more of it.
const answerLimit = time.Minute

// safe is a client that never leaves https.
func safe(client *http.Client) *http.Client {
	if client == nil {
		client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: answerLimit}}
	}
	c := *client
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case r.URL.Scheme != "https":
			return errors.New("it leads to a place without https")
		case len(via) > 5:
			return errors.New("it leads from place to place")
		}
		return nil
	}
	return &c
}

func (r remote) local(string) string { return "" }

func (r remote) open(ctx context.Context, path string) (io.ReadCloser, error) {
	ctx, stop := context.WithCancelCause(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/"+path, http.NoBody)
	if err != nil {
		stop(nil)
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		stop(nil)
		// Where a redirect leads to may be signed, which makes a key of its URL.
		if asked, ok := errors.AsType[*url.Error](err); ok {
			err = fmt.Errorf("%s: %w", request.URL.Host, asked.Err)
		}
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusOK:
		return lively(ctx, response.Body, stop), nil
	case http.StatusNotFound, http.StatusGone:
		err = fs.ErrNotExist
	default:
		err = fmt.Errorf("the server says %s", response.Status)
	}
	stop(nil)
	return nil, errors.Join(err, response.Body.Close())
}

// releases reads the newest release of a minor, where the official place tells it.
func (r remote) releases(ctx context.Context, minor int) ([]string, error) {
	body, err := r.open(ctx, fmt.Sprintf("stable-1.%d.txt", minor))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, mostSum))
	return strings.Fields(string(text)), err
}

// cached fetches a file into the cache, unless it is there with its sums, and returns its path.
func (s *Source) cached(ctx context.Context, f File, sums []sum) (string, error) {
	place := sha256.Sum256([]byte(s.text))
	path := filepath.Join(s.cache, hex.EncodeToString(place[:8]), filepath.FromSlash(f.Path()))
	if _, err := check(path, sums); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	body, err := s.place.open(ctx, f.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrMissing
	}
	if err != nil {
		return "", err
	}
	defer body.Close()
	aside, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(aside.Name()) }() // gone already if all is well
	defer aside.Close()
	if _, err := io.Copy(aside, io.LimitReader(body, mostBinary+1)); err != nil {
		return "", err
	}
	if err := errors.Join(aside.Chmod(0o755), aside.Sync(), aside.Close()); err != nil {
		return "", err
	}
	if _, err := check(aside.Name(), sums); err != nil {
		return "", err
	}
	return path, os.Rename(aside.Name(), path)
}

// OpenCached is Open with the cache of this user, under $XDG_CACHE_HOME/refit.
func OpenCached(text string) (*Source, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the directory for what is fetched: %w", err)
	}
	return Open(text, filepath.Join(cache, "refit", "releases"), nil)
}
