// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"fmt"
	"os"

	"refit.dev/refit/internal/hint"
)

// Down ends every process of the twin and removes its data. It also removes
// what an interrupted Up left.
func (t *Twin) Down(ctx context.Context) error {
	if _, err := os.Stat(t.dir); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("twin %s: %w", t.name, ErrNotFound)
	}
	unlock, err := t.lockName(ctx, nil)
	if err != nil {
		return err
	}
	defer unlock()
	return t.destroy(ctx) // nothing to do if somebody else was faster
}

// Down removes the twin of that name, see Twin.Down; also one that is
// half-made and that Open does not find. The error wraps ErrNotFound if there is none.
func Down(ctx context.Context, name string) error {
	root, err := rootDir("")
	if err != nil {
		return err
	}
	if err := validName(name); err != nil {
		return err
	}
	err = newTwin(root, name).Down(ctx)
	if errors.Is(err, ErrNotFound) {
		return hint.Wrap(err, "see `refit twin status` for those that exist")
	}
	return err
}

// destroy is Down for who holds the twin's lock.
func (t *Twin) destroy(ctx context.Context) error {
	if _, err := os.Stat(t.dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := t.stop(ctx); err != nil {
		return err
	}
	if t.ended != nil {
		<-t.ended // the supervisor is gone, this reaps it
	}
	// The record first: what is left if this is interrupted counts as half-made.
	if err := os.Remove(t.path("record.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("twin %s: remove its data: %w", t.name, err)
	}
	if err := os.RemoveAll(t.dir); err != nil {
		return fmt.Errorf("twin %s: remove its data: %w", t.name, err)
	}
	return nil
}
