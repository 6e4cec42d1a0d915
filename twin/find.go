// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"bytes"
	"path/filepath"

	"k8s.io/client-go/rest"
)

// OpenDir returns the twin in a directory, see Dir. The error wraps ErrNotFound if there is none.
func OpenDir(dir string) (*Twin, error) {
	return openIn(filepath.Dir(dir), filepath.Base(dir))
}

// Find returns the twin whose API server a client would talk to, or nil if that is no
// twin of this user's state directory: it has to be where the twin's is, and to be
// trusted by the twin's authority. Where there is no such directory, there are no twins.
func Find(config *rest.Config) (*Twin, error) {
	if _, err := rootDir(""); err != nil {
		return nil, nil //nolint:nilerr // a user without a home, as cron's
	}
	twins, err := List()
	if err != nil {
		return nil, err
	}
	want := rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(want); err != nil {
		return nil, nil //nolint:nilerr // it leads nowhere: whoever uses it will see
	}
	for _, t := range twins {
		own, err := t.RESTConfig()
		if err != nil {
			continue // it is half-made
		}
		if err := rest.LoadTLSFiles(own); err != nil {
			return nil, err
		}
		if own.Host == want.Host && bytes.Equal(own.CAData, want.CAData) {
			return t, nil
		}
	}
	return nil, nil
}
