// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"refit.dev/refit/host"
)

// dataDir is the data directory of a member and what is laid beside its content.
//
// What is exchanged is the directory "member" in it, which is all that etcd keeps there:
// the data directory itself may be a mount point, which cannot be renamed.
type dataDir struct {
	files
	run string
	// now is the one in use; target is where the restored one is to be: the same, or
	// another that does not exist yet.
	now, target string
}

// aside is what the old content is called from the exchange on.
func (d dataDir) aside() string { return path.Join(d.now, "member.before-"+d.run) }

// laid is where the restored directory is until the exchange: it is whole if it is there.
func (d dataDir) laid() string {
	if d.target != d.now {
		return d.target + ".refit-" + d.run
	}
	return path.Join(d.now, "refit-"+d.run)
}

// laidAlready tells whether the restored directory is there, or in use already.
func (d dataDir) laidAlready(ctx context.Context) (bool, error) {
	if there, err := d.exists(ctx, d.laid()); there || err != nil {
		return there, err
	}
	return d.exchanged(ctx)
}

// lay puts the directory that archive makes beside the one in use: aside, compared and
// synced, and renamed then.
func (d dataDir) lay(ctx context.Context, a *archive) error {
	partial := d.laid() + ".partial"
	steps := [][]string{
		{"rm", "--recursive", "--force", "--one-file-system", "--", partial}, // of an earlier process of this run
		{"install", "--directory", "--mode=0700", partial},
	}
	for _, argv := range steps {
		if err := d.do(ctx, argv...); err != nil {
			return err
		}
	}
	stream, done := a.stream()
	result, err := d.m.Exec(ctx, []string{"tar", "--extract", "--no-same-owner", "--preserve-permissions", "--directory=" + partial}, host.ExecOptions{Stdin: stream})
	err = errors.Join(host.Succeed(result, err), stream.Close())
	if err != nil {
		return fmt.Errorf("send the data directory: %w", err)
	}
	sent := <-done
	if sent.err != nil {
		return fmt.Errorf("read the data directory: %w", sent.err)
	}
	if err := d.compare(ctx, partial, sent.sums); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"chown", "--recursive", "--reference=" + d.now, partial}, // etcd may have a user of its own
		{"chmod", "--reference=" + d.now, partial},
		append([]string{"sync", "--"}, tree(partial, sent.sums)...),
	} {
		if err := d.do(ctx, argv...); err != nil {
			return err
		}
	}
	return d.move(ctx, partial, d.laid())
}

// tree is a directory with files, the directories between them, and the files.
func tree(dir string, files map[string]string) []string {
	all := map[string]bool{dir: true}
	for name := range files {
		for p := path.Join(dir, name); p != dir; p = path.Dir(p) {
			all[p] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// compare reads back what was sent. sums are SHA-256 in hexadecimal, by path.
func (d dataDir) compare(ctx context.Context, dir string, sums map[string]string) error {
	argv := []string{"sha256sum", "--"}
	for name := range sums {
		argv = append(argv, path.Join(dir, name))
	}
	text, err := d.text(ctx, argv...)
	if err != nil {
		return fmt.Errorf("read back the data directory: %w", err)
	}
	found := map[string]string{}
	for line := range strings.Lines(text) {
		if sum, file, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			found[strings.TrimPrefix(file, dir+"/")] = sum
		}
	}
	for name, sum := range sums {
		if found[name] != sum {
			return fmt.Errorf("%s is not what was sent: the machine reads back %q", path.Join(dir, name), found[name])
		}
	}
	return nil
}

// exchange puts the restored directory into the place of the old one, which keeps its
// content under another name. It can be called again after it was interrupted.
func (d dataDir) exchange(ctx context.Context) error {
	if d.target != d.now {
		return d.move(ctx, d.laid(), d.target)
	}
	done, err := d.exchanged(ctx)
	if err != nil || done {
		return err
	}
	member, restored := path.Join(d.now, "member"), path.Join(d.laid(), "member")
	var ready, old, aside bool
	for p, there := range map[string]*bool{restored: &ready, member: &old, d.aside(): &aside} {
		if *there, err = d.exists(ctx, p); err != nil {
			return err
		}
	}
	switch {
	case !ready && old && aside: // it was interrupted right before its end
		return d.do(ctx, "rmdir", d.laid())
	case !ready:
		return fmt.Errorf("the restored directory is not at %s", restored)
	case old && aside:
		return fmt.Errorf("both %s and %s are there: somebody has put one back; see which is right and remove the other", member, d.aside())
	case old:
		err = d.move(ctx, member, d.aside())
	case !aside: // what was in use is lost; that there was nothing is kept like what there was
		err = d.do(ctx, "install", "--directory", "--mode=0700", d.aside())
	}
	if err != nil {
		return err
	}
	if err := d.move(ctx, restored, member); err != nil {
		return err
	}
	return d.do(ctx, "rmdir", d.laid())
}

// exchanged tells whether the restored directory is where it is to be.
func (d dataDir) exchanged(ctx context.Context) (bool, error) {
	laid, err := d.exists(ctx, d.laid())
	if err != nil || laid {
		return false, err
	}
	if d.target != d.now {
		return d.exists(ctx, path.Join(d.target, "member"))
	}
	if aside, err := d.exists(ctx, d.aside()); err != nil || !aside {
		return false, err
	}
	return d.exists(ctx, path.Join(d.now, "member"))
}

// old is where the data is that was in use before.
func (d dataDir) old() string {
	if d.target != d.now {
		return d.now
	}
	return d.aside()
}

// giveBack undoes exchange and lay: for a restore that is given up before etcd was
// started on it.
func (d dataDir) giveBack(ctx context.Context) error {
	aside, err := d.exists(ctx, d.aside())
	if err != nil {
		return err
	}
	if aside && d.target == d.now {
		member := path.Join(d.now, "member")
		restored, err := d.exists(ctx, member)
		if err != nil {
			return err
		}
		if restored {
			if err := d.do(ctx, "install", "--directory", "--mode=0700", d.laid()); err != nil {
				return err
			}
			if err := d.move(ctx, member, path.Join(d.laid(), "member")); err != nil {
				return err
			}
		}
		if err := d.move(ctx, d.aside(), member); err != nil {
			return err
		}
	}
	for _, p := range []string{d.laid(), d.laid() + ".partial"} {
		if err := d.do(ctx, "rm", "--recursive", "--force", "--one-file-system", "--", p); err != nil {
			return err
		}
	}
	return nil
}
