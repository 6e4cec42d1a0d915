// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// used returns what any lab uses of the cache.
func used() ([]string, error) {
	all, err := names()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range all {
		l, err := read(name)
		if errors.Is(err, ErrNotFound) {
			continue // it has not come as far as to use anything
		}
		if err != nil {
			return nil, err
		}
		out = append(out, l.record.Uses...)
	}
	return out, nil
}

// made is what all labs are made of.
type made struct {
	programs map[string]string // the directory of a module's programs
	content  string            // what the store serves
	image    string            // of the machines
	pause    string            // the image of pods' own process
	host     host
}

// makeAll makes sure that the cache and the engine have what a lab is made of.
func makeAll(ctx context.Context, c *cache, e *engine) (made, error) {
	out := made{programs: map[string]string{}}
	base, err := c.debianBase(ctx, debian())
	if err != nil {
		return made{}, err
	}
	if err := c.keep(debianWithDnf()); err != nil {
		return made{}, err
	}
	for _, m := range modules() {
		if out.programs[m.name], err = c.programs(ctx, m); err != nil {
			return made{}, err
		}
	}
	if out.programs["inside"], err = c.inside(ctx); err != nil {
		return made{}, err
	}
	if out.content, err = c.content(ctx, out.programs, base); err != nil {
		return made{}, err
	}
	if out.pause, err = pauseImage(out.content); err != nil {
		return made{}, err
	}
	if out.image, err = c.machineImage(ctx, e, base, out.programs["containerd"]); err != nil {
		return made{}, err
	}
	out.host, err = e.host(ctx)
	return out, err
}

// use notes what the lab uses of the cache and what its machines are made of, and puts
// kubectl into its directory.
func (l *Lab) use(made made) error {
	kubernetes := ""
	for _, r := range releases() {
		if r.Version == l.record.Options.Version {
			kubernetes = made.programs[r.Module]
		}
	}
	l.record.Image, l.record.Pause = made.image, made.pause
	l.record.Uses = nil
	dirs := []string{kubernetes, made.programs["inside"], made.content}
	if l.record.Options.Flavour == Scratch {
		for _, r := range releases() { // its releases are links to them
			dirs = append(dirs, made.programs[r.Module], made.programs[r.Etcd])
		}
	}
	for _, dir := range dirs {
		l.record.Uses = append(l.record.Uses, filepath.Base(dir))
	}
	if err := l.write(); err != nil {
		return err
	}
	if err := os.Remove(l.Kubectl()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(filepath.Join(kubernetes, "kubectl"), l.Kubectl())
}
