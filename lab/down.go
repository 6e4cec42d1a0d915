// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"refit.dev/refit/internal/hint"
)

// Down removes a lab and all that is of it, half-made or not. With the last lab
// the labs' own engine ends, which keeps the machines' image.
func Down(ctx context.Context, name string, progress Progress) error {
	if name == "" {
		name = DefaultName
	}
	dir, err := labDir(name)
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, progress)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(dir); err != nil {
		return hint.Wrap(fmt.Errorf("lab %s: %w", name, ErrNotFound), "`make lab-status` tells what there is")
	}
	if err := down(ctx, name, dir, progress); err != nil {
		return fmt.Errorf("lab %s: %w", name, err)
	}
	left, err := names()
	if err != nil || len(left) > 0 {
		return err
	}
	own, err := ownEngineDirs()
	if err != nil {
		return err
	}
	return own.stop(ctx)
}

// DownAll removes every lab, the machines' images and the labs' own engine with
// all its data. Only the cache stays.
func DownAll(ctx context.Context, progress Progress) error {
	unlock, err := lock(ctx, progress)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := names()
	if err != nil {
		return err
	}
	for _, name := range all {
		dir, err := labDir(name)
		if err != nil {
			return err
		}
		if err := down(ctx, name, dir, progress); err != nil {
			return fmt.Errorf("lab %s: %w", name, err)
		}
	}
	e, err := findEngine(ctx)
	if err == nil && !e.own { // the images in the labs' own go with it
		err = e.removeImages(ctx)
	}
	if err != nil && !errors.Is(err, ErrNoEngine) {
		return err
	}
	own, err := ownEngineDirs()
	if err != nil {
		return err
	}
	if err := own.stop(ctx); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Dir(own.data))
}

func down(ctx context.Context, name, dir string, progress Progress) error {
	progress.say("removing lab %s", name)
	// Its containers may be in the labs' own engine, which does not run after a reboot.
	e, err := findEngine(ctx)
	if own, ownErr := ownEngineDirs(); errors.Is(err, ErrNoEngine) && ownErr == nil {
		if _, statErr := os.Stat(own.data); statErr == nil {
			e, err = startEngine(ctx, progress)
		} else if os.IsNotExist(statErr) {
			e, err = nil, nil // there never was one
		}
	}
	if err != nil {
		return err
	}
	if e != nil {
		if err := e.removeLab(ctx, name); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// removeLab removes the containers, their volumes, and the network of a lab.
func (e *engine) removeLab(ctx context.Context, name string) error {
	for _, kind := range []struct {
		list, remove []string
	}{
		{[]string{"ps", "--all", "--quiet"}, []string{"rm", "--force", "--volumes"}},
		{[]string{"network", "ls", "--quiet"}, []string{"network", "rm"}},
	} {
		out, err := e.docker(ctx, nil, append(kind.list, "--filter", "label="+label(name))...)
		if err != nil {
			return err
		}
		if ids := strings.Fields(out); len(ids) > 0 {
			if _, err := e.docker(ctx, nil, slices.Concat(kind.remove, ids)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *engine) removeImages(ctx context.Context) error {
	out, err := e.docker(ctx, nil, "images", "--quiet", machineRepository)
	if err != nil {
		return err
	}
	if ids := strings.Fields(out); len(ids) > 0 {
		_, err = e.docker(ctx, nil, append([]string{"rmi", "--force"}, ids...)...)
	}
	return err
}
