// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"strconv"
)

// exchange writes what is pending aside and puts it into place. From the first file that is put into place to the
// last the index says that the tree is unfinished, and lists the files of both.
func (t *tree) exchange() error {
	if err := t.root.RemoveAll(asideName); err != nil {
		return err
	}
	if err := t.root.Mkdir(asideName, 0o700); err != nil {
		return err
	}
	if err := t.writeAside(); err != nil { // what it takes of a full disk is given back, and Secrets are not left there
		return errors.Join(err, t.root.RemoveAll(asideName))
	}
	if err := t.putIndex(t.moving()); err != nil {
		return err
	}
	if err := t.move(); err != nil {
		return err
	}
	if err := syncAll(t.root); err != nil {
		return err
	}
	if err := t.putIndex(t.next); err != nil {
		return err
	}
	return t.root.RemoveAll(asideName)
}

// writeAside writes what is pending to disk, next to the tree.
func (t *tree) writeAside() error {
	for i, p := range t.pending {
		if err := writeFile(t.root, aside(i), p.text, p.mode); err != nil {
			return err
		}
	}
	return syncAll(t.root)
}

func aside(i int) string { return asideName + "/" + strconv.Itoa(i) }

// moving is the index of a tree in between. Nothing encrypted counts as being what it was.
func (t *tree) moving() *index {
	x := &index{selection: t.next.selection, cluster: t.next.cluster, lacks: t.next.lacks, unfinished: true, stamps: maps.Clone(t.next.stamps)}
	if t.last != nil {
		for path, stamp := range t.last.stamps {
			if _, ok := x.stamps[path]; !ok {
				x.stamps[path] = stamp
			}
		}
	}
	return x
}

// putIndex replaces the index.
func (t *tree) putIndex(x *index) error {
	const name = asideName + "/index"
	if err := writeFile(t.root, name, x.text(), 0o644); err != nil {
		return err
	}
	for _, sync := range []struct {
		name string
		then func() error
	}{
		{name, func() error { return t.root.Rename(name, IndexName) }},
		{".", func() error { return nil }},
	} {
		f, err := t.root.Open(sync.name)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		if err := sync.then(); err != nil {
			return err
		}
	}
	return nil
}

// move puts the files into place, and removes those of objects that are gone.
func (t *tree) move() error {
	made := map[string]bool{}
	for i, p := range t.pending {
		if dir := path.Dir(p.path); !made[dir] {
			if err := t.root.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			made[dir] = true
		}
		if err := t.root.Rename(aside(i), p.path); err != nil {
			return err
		}
	}
	for _, file := range t.gone {
		info, err := t.root.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file any more", file)
		}
		if err := t.root.Remove(file); err != nil {
			return err
		}
		t.written.Removed++
		for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
			if t.root.Remove(dir) != nil { // there is something in it
				break
			}
		}
	}
	return nil
}

func writeFile(root *os.Root, name string, text []byte, mode fs.FileMode) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = syncFile(f)
	}
	return errors.Join(err, f.Close())
}
