// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"refit.dev/refit/internal/hint"
)

// Latest names the newest set of a store.
const Latest = "latest"

// schemes are the kinds of stores.
func schemes() []string { return []string{"file", "s3", "gs", "azblob"} }

// IsURL tells a URL from the path of a file.
func IsURL(text string) bool { return strings.Contains(text, "://") }

// Location is where a store is.
type Location struct {
	scheme, bucket string
	// path is a directory of file:, and otherwise what all names in the bucket begin with;
	// without slashes at its ends but the directory's first.
	path  string
	query url.Values
}

// ParseStore reads the URL of a store: file:///DIRECTORY, or s3:, gs: or azblob: with
// //BUCKET/PREFIX and parameters of gocloud.dev/blob (region, endpoint, use_path_style, profile, ...).
func ParseStore(text string) (Location, error) {
	u, err := url.Parse(text)
	if err != nil && strings.Contains(text, "@") {
		return Location{}, hint.Wrap(errors.New("the URL of the store cannot be read; it is not repeated here, as a password may be in it"), "names and passwords do not belong into it")
	}
	if err != nil {
		return Location{}, fmt.Errorf("the store %q: %w", text, errors.Unwrap(err))
	}
	l := Location{scheme: u.Scheme, bucket: u.Host, path: strings.Trim(path.Clean("/"+u.Path), "/"), query: u.Query()}
	wrong := func(format string, args ...any) (Location, error) {
		return Location{}, hint.Wrap(fmt.Errorf("the store %q: %s", u.Redacted(), fmt.Sprintf(format, args...)),
			"want file:///DIRECTORY, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX")
	}
	switch {
	case u.Scheme == "" && path.IsAbs(u.Path):
		_, err := wrong("it is a path, and no URL")
		return Location{}, hint.Wrap(err, "did you mean file://%s?", (&url.URL{Path: path.Clean(u.Path)}).EscapedPath())
	case !slices.Contains(schemes(), u.Scheme):
		return wrong("%q is no kind of store", u.Scheme)
	case u.User != nil:
		return wrong("names and passwords do not belong into a URL; the store's own tools say where they belong")
	case u.Fragment != "":
		return wrong("what is after # belongs to no store")
	case l.query.Has("prefix") || l.query.Has("key"):
		return wrong("say the prefix as a path")
	case u.Scheme == "file" && u.Host != "":
		return wrong("three slashes come before an absolute path")
	case u.Scheme == "file" && l.path == "":
		return wrong("it names no directory")
	case u.Scheme == "file" && len(l.query) > 0:
		return wrong("a directory has no parameters")
	case u.Scheme != "file" && u.Host == "":
		return wrong("it names no bucket")
	}
	if l.scheme == "file" {
		l.path = "/" + l.path
	}
	return l, nil
}

// ParseSet reads the URL of a set: that of the store, with the set's name, or latest, at the
// end of the path.
func ParseSet(text string) (store Location, name string, err error) {
	l, err := ParseStore(text)
	if err != nil {
		return l, "", err
	}
	name = path.Base(l.path)
	if name != Latest && !isName(name) {
		return l, "", hint.Wrap(fmt.Errorf("%s: %q is no name of a set", l, name), "did you mean %s, or another set of that store? refit backup list shows the names", l.Set(Latest))
	}
	l.path = path.Dir(l.path)
	if l.path == "." || l.path == "/" && l.scheme != "file" {
		l.path = ""
	}
	return l, name, nil
}

// Set is the URL of a set in the store.
func (l Location) Set(name string) string {
	l.path = path.Join(l.path, name)
	return l.String()
}

// String is the URL. It has no secrets.
func (l Location) String() string {
	u := url.URL{Scheme: l.scheme, Host: l.bucket, Path: l.path, RawQuery: l.query.Encode()}
	if u.Host != "" && u.Path != "" {
		u.Path = "/" + u.Path
	}
	if l.scheme == "file" {
		u.OmitHost = false
		return "file://" + (&url.URL{Path: l.path}).EscapedPath()
	}
	return u.String()
}

// ID is a name for files that are about this store.
func (l Location) ID() string { return sumOf([]byte(l.String()))[:16] }
