// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// point has etcd use another data directory than before from its next start on: it changes the volume
// of its static pod, or the --data-dir of its unit. etcd is stopped.
func (m *machine) point(ctx context.Context, from, to string) error {
	file := m.pointer(m.park)
	text, changed, err := m.edited(ctx, file, from, to)
	if err != nil || changed == text {
		return err
	}
	mode := fs.FileMode(0o600) // as kubeadm has manifests
	if m.member.Method == run.Units {
		mode = 0o644 // units are for everybody to read, and systemctl cat shows them
	}
	if err := m.m.WriteFile(ctx, file, []byte(changed), mode); err != nil {
		return err
	}
	if m.member.Method == run.Units {
		return m.do(ctx, "systemctl", "daemon-reload")
	}
	return nil
}

// pointBack undoes point, if that was done.
func (m *machine) pointBack(ctx context.Context, from string) error {
	text, err := m.m.ReadFile(ctx, m.pointer(m.park))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !strings.Contains(string(text), from) {
		return nil // it is not stopped, or was never changed
	}
	if err != nil {
		return err
	}
	return m.point(ctx, from, m.member.DataDir)
}

// plain is what can stand in a manifest and in a unit as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// editable tries what point will do, before anything is stopped.
func (m *machine) editable(ctx context.Context, to string) error {
	if !plain.MatchString(to) {
		return fmt.Errorf("--data-dir %q: want letters, digits and . _ - / alone", to)
	}
	if m.member.Method == run.Units {
		if drops, err := (units{kubelet{m.files}}).property(ctx, etcdName, "DropInPaths"); err != nil || drops != "" {
			return errors.Join(err, fmt.Errorf("etcd.service is changed by %q, so that its data directory may stand there as well: restore without --data-dir", drops))
		}
	}
	_, _, err := m.edited(ctx, m.pointer(path.Dir(m.member.File)), m.member.DataDir, to)
	return err
}

// pointer is the file that names the data directory: that of a unit, or a manifest in dir.
func (m *machine) pointer(dir string) string {
	if m.member.Method == run.Units {
		return m.member.File
	}
	return path.Join(dir, path.Base(m.member.File))
}

// edited is a file as it is, and with the other data directory.
func (m *machine) edited(ctx context.Context, file, from, to string) (text, changed string, err error) {
	data, err := m.m.ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("%s is gone: it is where etcd's data directory is named", file)
	}
	if err != nil {
		return "", "", err
	}
	edit := repointManifest
	if m.member.Method == run.Units {
		edit = repointUnit
	}
	if changed, err = edit(string(data), from, to); err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return string(data), changed, err
}

// repointManifest changes the hostPath of a manifest: the one line in which it stands, so
// that the rest stays as it is.
func repointManifest(text, from, to string) (string, error) {
	return replaceOne(text, `(?m)^(\s*(?:- )?path:\s*)("?)`, from, `("?\s*)$`, to)
}

// repointUnit changes --data-dir, or ETCD_DATA_DIR, in a unit file.
func repointUnit(text, from, to string) (string, error) {
	return replaceOne(text, `(--data-dir[= ]|ETCD_DATA_DIR=)("?)`, from, `("?(?:[\s"\\]|$))`, to)
}

func replaceOne(text, before, from, after, to string) (string, error) {
	find := func(p string) *regexp.Regexp { return regexp.MustCompile(before + regexp.QuoteMeta(p) + "/?" + after) }
	switch n := len(find(from).FindAllStringIndex(text, -1)); {
	case n == 1:
		return find(from).ReplaceAllString(text, "${1}${2}"+strings.ReplaceAll(to, "$", "$$")+"${3}"), nil
	case n == 0 && len(find(to).FindAllStringIndex(text, -1)) == 1:
		return text, nil // it was changed already
	default:
		return "", hint.Wrap(fmt.Errorf("the data directory %s stands there %d times: want once", from, n),
			"restore without --data-dir, which leaves that file alone")
	}
}
