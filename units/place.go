// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"refit.dev/refit/host"
)

// Scripts of coreutils, each of which may be cut off anywhere and run again. sync(1) makes a
// file, or the names in a directory, last.
const (
	// receiveScript writes what comes in to $1, which has the sum $2 then.
	receiveScript = `set -eu
umask 022
trap 'rm -f -- "$1.part"' EXIT
cat >"$1.part"
has=$(sha256sum <"$1.part")
[ "${has%% *}" = "$2" ] || { echo "what arrived has the sum ${has%% *}" >&2; exit 1; }
chmod 0755 -- "$1.part"
sync -- "$1.part"
mv -fT -- "$1.part" "$1"
sync -- "$3"`
	// putScript puts the file $3, which has the sum $4, into the place of $1, and keeps what
	// was there as $2. $5 is their directory.
	putScript = `set -eu
sum() { s=$(sha256sum <"$1"); echo "${s%% *}"; }
[ "$(sum "$1")" != "$4" ] || exit 0
[ "$(sum "$3")" = "$4" ] || { echo "$3 is not what was sent there" >&2; exit 1; }
[ "$1" -ef "$2" ] || ln -fT -- "$1" "$2"
[ "$3" -ef "$1.refit" ] || ln -fT -- "$3" "$1.refit"
sync -- "$5"
mv -fT -- "$1.refit" "$1"
sync -- "$5"`
	// backScript puts what was kept as $2 back into the place of $1. Before that it notes as $4
	// that $5 was refused, so that whoever carries on does not put it there again; a disk that
	// is full does not keep it from going back.
	backScript = `set -eu
[ -f "$2" ] || { echo "$2 is not there" >&2; exit 1; }
{ printf '%s\n' "$5" >"$4" && sync -- "$4"; } || true
[ "$1" -ef "$2" ] && exit 0
[ "$2" -ef "$1.refit" ] || ln -fT -- "$2" "$1.refit"
mv -fT -- "$1.refit" "$1"
sync -- "$3"`
	// placeScript prints the sum of what is in the place of $1, whether the file $2 waits
	// beside it, and the note $3 of one that was refused.
	placeScript = `[ -f "$1" ] && sha256sum <"$1"
[ -e "$2" ] && echo staged
[ -f "$3" ] && { printf 'refused '; head -n 1 -- "$3"; }
true`
)

// Binary is a file that a component is to be started from.
type Binary struct {
	// Version is that of the release, as it is part of names: v1.37.2.
	Version string
	// SHA256 is what the file has, in hexadecimal.
	SHA256 string
	Size   int64
}

// Staged tells whether a binary waits on a host beside the one in use, or is in use.
func Staged(ctx context.Context, m host.Machine, u Unit, b Binary) (bool, error) {
	if u.SHA256 == b.SHA256 {
		return true, nil
	}
	result, err := (&reader{m: m}).run(ctx, "sha256sum", "--", stagedPath(u.Program, b.Version))
	if err != nil {
		return false, err
	}
	has, _, _ := strings.Cut(string(result.Stdout), " ")
	return result.Code == 0 && has == b.SHA256, nil
}

// Stage sends a binary to a host, where it waits beside the one in use. It is whole or not
// there. open gives its content.
func Stage(ctx context.Context, m host.Machine, u Unit, b Binary, open func() (io.ReadCloser, error)) error {
	content, err := open()
	if err != nil {
		return err
	}
	defer content.Close()
	staged := stagedPath(u.Program, b.Version)
	result, err := m.Exec(ctx, []string{"sh", "-c", receiveScript, "sh", staged, b.SHA256, path.Dir(u.Program)}, host.ExecOptions{Stdin: content})
	if err = host.Succeed(result, err); err != nil {
		return fmt.Errorf("send %s: %w", staged, err)
	}
	return nil
}

// Waiting is the path of a binary that was staged: that of the one in use if it is the same.
func Waiting(u Unit, b Binary) string {
	if u.SHA256 == b.SHA256 {
		return u.Program
	}
	return stagedPath(u.Program, b.Version)
}

// put puts the staged binary into its place.
func put(ctx context.Context, m host.Machine, u Unit, b Binary) error {
	result, err := m.Exec(ctx, []string{"sh", "-c", putScript, "sh", u.Program, keptPath(u.Program, b.Version), stagedPath(u.Program, b.Version), b.SHA256, path.Dir(u.Program)}, host.ExecOptions{})
	if err = host.Succeed(result, err); err != nil {
		return fmt.Errorf("put %s %s into its place: %w", u.Component, b.Version, err)
	}
	return nil
}

// back puts the binary of before into its place, and notes for the run why.
func back(ctx context.Context, m host.Machine, u Unit, b Binary, run, why string) error {
	note := strings.Join([]string{b.SHA256, strconv.Quote(run), strconv.Quote(why)}, " ")
	result, err := m.Exec(ctx, []string{"sh", "-c", backScript, "sh", u.Program, keptPath(u.Program, b.Version), path.Dir(u.Program), refusedPath(u.Program, b.Version), note}, host.ExecOptions{})
	if err = host.Succeed(result, err); err != nil {
		return fmt.Errorf("put the %s of before into its place: %w", u.Component, err)
	}
	return nil
}

// restart has systemd start a service anew, and does not wait: some say that they are up only
// when others are.
func restart(ctx context.Context, m host.Machine, u Unit) error {
	for _, argv := range [][]string{
		{"systemctl", "reset-failed", "--", u.Service.Name}, // or systemd may refuse one that has failed often
		{"systemctl", "restart", "--no-block", "--", u.Service.Name},
	} {
		result, err := m.Exec(ctx, argv, host.ExecOptions{})
		if err != nil {
			return fmt.Errorf("restart %s: %w", u.Service.Name, err)
		}
		if err := host.Succeed(result, nil); err != nil && argv[1] == "restart" { // one that has not failed cannot be reset
			return fmt.Errorf("restart %s: %w", u.Service.Name, err)
		}
	}
	return nil
}

// forgive takes back that a binary was refused.
func forgive(ctx context.Context, m host.Machine, u Unit, b Binary) error {
	return remove(ctx, m, refusedPath(u.Program, b.Version))
}

// forget removes what a Raise has left: the staged binary, which is in its place by now, as the
// last one, since its being gone says that the Raise has come to its end.
func forget(ctx context.Context, m host.Machine, u Unit, b Binary) error {
	return remove(ctx, m, u.Program+".refit", refusedPath(u.Program, b.Version), stagedPath(u.Program, b.Version))
}

func remove(ctx context.Context, m host.Machine, paths ...string) error {
	result, err := m.Exec(ctx, append([]string{"rm", "-f", "--"}, paths...), host.ExecOptions{})
	if err = host.Succeed(result, err); err != nil {
		return fmt.Errorf("remove %s: %w", strings.Join(paths, ", "), err)
	}
	return nil
}
