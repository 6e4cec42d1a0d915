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
	file := m.member.File
	if m.member.Method == run.StaticPods {
		file = path.Join(m.park, path.Base(file))
	}
	text, err := m.m.ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is gone: it is where etcd's data directory is named", file)
	}
	if err != nil {
		return err
	}
	edit := repointManifest
	if m.member.Method == run.Units {
		edit = repointUnit
	}
	changed, err := edit(string(text), from, to)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if changed == string(text) {
		return nil
	}
	if err := m.m.WriteFile(ctx, file, []byte(changed), 0o600); err != nil {
		return err
	}
	if m.member.Method == run.Units {
		return m.do(ctx, "systemctl", "daemon-reload")
	}
	return nil
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
