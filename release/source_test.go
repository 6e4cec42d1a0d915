// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package release_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"refit.dev/refit/release"
	"refit.dev/refit/skew"
)

var kubelet = release.File{Version: skew.Version{Minor: 37, Patch: 2}, Arch: "amd64", Name: "kubelet"}

func sum256(text string) string { s := sha256.Sum256([]byte(text)); return hex.EncodeToString(s[:]) }

func sum512(text string) string { s := sha512.Sum512([]byte(text)); return hex.EncodeToString(s[:]) }

// place is a directory with files, by their endings behind the kubelet's path.
func place(t *testing.T, endings map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for ending, text := range endings {
		path := filepath.Join(dir, kubelet.Path()+ending)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sources are the same files in a directory, and behind https.
func sources(t *testing.T, dir string) map[string]*release.Source {
	t.Helper()
	server := httptest.NewTLSServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	all := map[string]*release.Source{}
	for name, text := range map[string]string{"directory": dir, "file": "file://" + dir, "https": server.URL + "/"} {
		s, err := release.Open(text, t.TempDir(), server.Client())
		if err != nil {
			t.Fatal(err)
		}
		all[name] = s
	}
	return all
}

func TestFetch(t *testing.T) {
	const text = "a kubelet"
	for name, c := range map[string]struct {
		files map[string]string
		want  string // of the error
	}{
		"sha256":             {map[string]string{"": text, ".sha256": sum256(text)}, ""},
		"sha512, and a name": {map[string]string{"": text, ".sha512": sum512(text) + "  kubelet\n"}, ""},
		"both":               {map[string]string{"": text, ".sha256": strings.ToUpper(sum256(text)), ".sha512": sum512(text)}, ""},
		"no sum":             {map[string]string{"": text}, "kubelet.sha256 or .sha512"},
		"no binary":          {map[string]string{".sha256": sum256(text)}, "it is not there"},
		"another sum":        {map[string]string{"": text, ".sha256": sum256("x")}, "its sha256 is " + sum256(text) + ", and is to be " + sum256("x")},
		"one of two wrong":   {map[string]string{"": text, ".sha256": sum256(text), ".sha512": sum512("x")}, "its sha512 is"},
		"no sum in it":       {map[string]string{"": text, ".sha256": "<html>"}, "has no sum in it"},
		"a shorter sum":      {map[string]string{"": text, ".sha512": sum256(text)}, "has no sum in it"},
	} {
		for kind, s := range sources(t, place(t, c.files)) {
			t.Run(name+" in "+kind, func(t *testing.T) {
				b, err := s.Fetch(t.Context(), kubelet)
				if c.want != "" {
					if err == nil || !strings.Contains(err.Error(), c.want) {
						t.Fatalf("got %v, want %q", err, c.want)
					}
					if missing := c.want == "it is not there" || strings.HasPrefix(c.want, "kubelet.sha256"); missing != errors.Is(err, release.ErrMissing) {
						t.Errorf("missing %t: %v", missing, err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(b.Path)
				if err != nil || string(got) != text || b.SHA256 != sum256(text) || b.Size != int64(len(text)) {
					t.Errorf("%+v, %q, %v", b, got, err)
				}
			})
		}
	}
}

// What comes over https is fetched once, and checked whenever it is used.
func TestCache(t *testing.T) {
	const text = "a kubelet"
	dir, cache, asked := place(t, map[string]string{"": text, ".sha256": sum256(text)}), t.TempDir(), 0
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/kubelet") {
			asked++
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	fetch := func() release.Binary {
		t.Helper()
		s, err := release.Open(server.URL, cache, server.Client())
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Fetch(t.Context(), kubelet)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := fetch()
	if again := fetch(); again != first || asked != 1 {
		t.Errorf("%+v and %+v, fetched %d times", first, again, asked)
	}
	if err := os.WriteFile(first.Path, []byte("damaged"), 0o755); err != nil {
		t.Fatal(err)
	}
	if again := fetch(); again != first || asked != 2 {
		t.Errorf("%+v, fetched %d times", again, asked)
	}
}

func TestReleases(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"v1.37.2", "v1.37.10", "v1.37.0-rc.1", "v1.36.3", "1.37.1", "v1.37", "x"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "stable-1.37.txt"), []byte("v1.37.2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for kind, s := range sources(t, dir) {
		want := "[v1.37.2 v1.37.10]"
		if kind == "https" {
			want = "[v1.37.2]"
		}
		if got, err := s.Releases(t.Context(), 37); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v, want %s", kind, got, err, want)
		}
		if got, err := s.Releases(t.Context(), 35); err != nil || len(got) != 0 {
			t.Errorf("%s: of a minor that is not there %v, %v", kind, got, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"": "no place is named", "http://example.com/release": "nobody could tell", "ftp://x/y": "nobody could tell", "https://me:secret@example.com/r": "would end up in journals",
		"https://example.com/r?token=x":  "would end up in journals",
		"http://me:secret@example.com/r": "would end up in journals", "//me:secret@example.com/r": "would end up in journals", "me:secret@example.com/r": "nobody could tell", "ftp://x/y?token=secret": "nobody could tell", file: "it is no directory", "/nonexistent": "no such file",
	} {
		if _, err := release.Open(text, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: it tells the secret: %v", text, err)
		}
	}
}

// A server that leads away from https is not followed, and nobody is told the whole URL that it leads to.
func TestRedirect(t *testing.T) {
	plain := httptest.NewServer(http.FileServer(http.Dir(place(t, map[string]string{".sha256": sum256("x")}))))
	defer plain.Close()
	server := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/"+kubelet.Path()+".sha256?signature=c2VjcmV0", http.StatusFound))
	defer server.Close()
	s, err := release.Open(server.URL, t.TempDir(), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fetch(t.Context(), kubelet); err == nil || !strings.Contains(err.Error(), "without https") || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("got %v", err)
	}
}

// A directory may have its binaries as downloads are, not to be run: what Fetch gives can be
// run, and its sums were checked. One that can be run is taken where it is.
func TestFetchToBeRun(t *testing.T) {
	const text = "#!/bin/sh\necho a kubelet\n"
	dir, cache := place(t, map[string]string{"": text, ".sha256": sum256(text)}), t.TempDir()
	for _, c := range []struct {
		mode os.FileMode
		in   string
	}{{0o644, cache}, {0o755, dir}} {
		if err := os.Chmod(filepath.Join(dir, kubelet.Path()), c.mode); err != nil {
			t.Fatal(err)
		}
		s, err := release.Open(dir, cache, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Fetch(t.Context(), kubelet)
		if err != nil || !strings.HasPrefix(b.Path, c.in) || b.SHA256 != sum256(text) {
			t.Fatalf("of mode %o: %+v, %v, want one in %s", c.mode, b, err, c.in)
		}
		if out, err := exec.CommandContext(t.Context(), b.Path).Output(); err != nil || string(out) != "a kubelet\n" {
			t.Errorf("of mode %o: it says %q, %v", c.mode, out, err)
		}
	}
}

// stalling is a server that sends something, and then nothing more.
type stalling struct{}

func (stalling) RoundTrip(r *http.Request) (*http.Response, error) {
	ours, theirs := io.Pipe()
	go func() { _, _ = theirs.Write([]byte("a kube")) }()
	context.AfterFunc(r.Context(), func() { _ = theirs.CloseWithError(r.Context().Err()) })
	return &http.Response{StatusCode: http.StatusOK, Body: ours, Request: r}, nil
}

// A server that stops in the middle of an answer is not waited for without end.
func TestFetchStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := release.Open("https://example.com/release", t.TempDir(), &http.Client{Transport: stalling{}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Fetch(t.Context(), kubelet); err == nil || !strings.Contains(err.Error(), "nothing has come for 1m0s") {
			t.Errorf("got %v", err)
		}
	})
}

// Names that lead elsewhere are no binaries.
func TestFetchRefuses(t *testing.T) {
	s, err := release.Open(t.TempDir(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []release.File{{Version: kubelet.Version, Arch: "amd64", Name: "../kubelet"}, {Version: kubelet.Version, Arch: "..", Name: "kubelet"}, {Version: skew.OfMinor(37), Arch: "amd64", Name: "kubelet"}} {
		if _, err := s.Fetch(t.Context(), f); err == nil || !strings.Contains(err.Error(), "is no binary of a release") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
