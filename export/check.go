// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrUnfinished says that an export into a directory was interrupted while it put its files into place.
var ErrUnfinished = errors.New("an export into this directory was interrupted: some of its files are older than others")

// Check says whether a file, or what is in a directory, is of a whole export, if it is of one at all: the
// error is ErrUnfinished if not. The index may be in a directory above. lacks are the resources that
// the export could not read.
func Check(path string) (lacks []string, err error) {
	path, err = filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil, err
	}
	for dir := path; ; dir = filepath.Dir(dir) {
		x, err := indexIn(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		if x != nil && x.holds(filepath.ToSlash(below)) {
			if x.unfinished {
				return nil, ErrUnfinished
			}
			return x.lacks, nil
		}
		if dir == filepath.Dir(dir) {
			return nil, nil
		}
	}
}

// indexIn reads the index of a directory; nil if there is none, or none that this user could read.
func indexIn(dir string) (*index, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return nil, nil
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	x, err := readIndex(root)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	return x, err
}

// holds tells whether an index is about a path: it lists it, or files below it. An index in some
// directory far above says nothing of what it does not list.
func (x *index) holds(path string) bool {
	if path == "." {
		return true
	}
	if _, listed := x.stamps[path]; listed {
		return true
	}
	return slices.ContainsFunc(slices.Collect(maps.Keys(x.stamps)), func(file string) bool { return strings.HasPrefix(file, path+"/") })
}
