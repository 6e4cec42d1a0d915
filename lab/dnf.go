// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"

	"refit.dev/refit/internal/hint"
)

// debianWithDnf are the packages of a machine on which dnf installs packages of rpm's: Debian has
// them, so that no other distribution is needed.
func debianWithDnf() []string {
	return append(debian(), "dnf", "dnf-plugins-core", "rpm", "createrepo-c")
}

// keep has prune leave a machine's Debian in the cache, if it is there.
func (c *cache) keep(packages []string) error {
	k, err := baseKey(packages)
	c.used = append(c.used, baseName(packages)+"-"+k)
	return err
}

// UpDnf makes a lab of one machine, w1, that is no part of a cluster: with dnf, rpm and what makes
// packages and repositories of theirs, and without apt-get. There is nothing on it to install or to
// be asked; whoever uses it makes that. It is removed by Down.
func UpDnf(ctx context.Context, name string, progress Progress) (*Lab, error) {
	dir, err := labDir(name)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return nil, hint.Wrap(fmt.Errorf("lab %s is there already", name), "remove it with `make lab-down`, or use another name")
	}
	if err := raiseLimits("/proc/sys", progress); err != nil {
		return nil, err
	}
	e, err := startEngine(ctx, progress)
	if err != nil {
		return nil, err
	}
	c, err := openCache(ctx, progress)
	if err != nil {
		return nil, err
	}
	base, err := c.debianBase(ctx, debianWithDnf())
	if err != nil {
		return nil, err
	}
	var containerd string
	for _, m := range modules() {
		if m.name == "containerd" {
			if containerd, err = c.programs(ctx, m); err != nil {
				return nil, err
			}
		}
	}
	out := made{}
	if out.image, err = c.machineImage(ctx, e, base, containerd); err != nil {
		return nil, err
	}
	if out.host, err = e.host(ctx); err != nil {
		return nil, err
	}
	l, err := plan(Options{Name: name, Workers: 1})
	if err != nil {
		return nil, err
	}
	l.engine = e
	if err := l.single(ctx, out); err != nil {
		return nil, fmt.Errorf("lab %s: %w", name, err)
	}
	return l, nil
}

// single makes and starts the one machine of a lab.
func (l *Lab) single(ctx context.Context, made made) error {
	keys, err := l.writeKeys()
	if err != nil {
		return err
	}
	if err := l.makeNetwork(ctx); err != nil {
		return err
	}
	m := l.Machines()[0]
	files, err := l.filesOf(made.host, keys.login, made.pause)
	if err != nil {
		return err
	}
	if err := l.assemble(ctx, m, made.image, made.host, files, keys.host[m.Name]); err != nil {
		return err
	}
	if err := l.Start(ctx, m.Name); err != nil {
		return err
	}
	_, err = l.exec(ctx, m.Name, "mv /usr/bin/apt-get /usr/bin/apt-cache /root/")
	return err
}
