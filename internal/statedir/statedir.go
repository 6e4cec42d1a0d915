// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package statedir says where refit keeps what has to outlive a process:
// journals of runs and the data of twins. Nothing in it is a cache.
package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Env names the environment variable that overrides the state directory.
const Env = "REFIT_STATE_DIR"

// Path returns the path of elem below the state directory, an absolute path,
// and creates every directory on the way but the last element. The state
// directory is $REFIT_STATE_DIR, or $XDG_STATE_HOME/refit, or
// ~/.local/state/refit (XDG Base Directory Specification). Directories are
// made for the user alone (0700): private keys and cluster data are in them.
func Path(elem ...string) (string, error) {
	root, err := root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	parent := path
	if len(elem) > 0 {
		parent = filepath.Dir(path)
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", fmt.Errorf("create the state directory (set %s to keep state elsewhere): %w", Env, err)
	}
	return path, nil
}

func root() (string, error) {
	if dir := os.Getenv(Env); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("%s=%q: %w", Env, dir, err)
		}
		return abs, nil
	}
	// The specification wants relative values to be ignored.
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "refit"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.Join(fmt.Errorf("find the state directory (set %s)", Env), err)
	}
	return filepath.Join(home, ".local", "state", "refit"), nil
}
