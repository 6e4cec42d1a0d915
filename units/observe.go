// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"refit.dev/refit/host"
	"refit.dev/refit/host/service"
)

// State is what one host was found to be.
type State struct {
	// Arch is the processor as releases name it: amd64, arm64.
	Arch string
	// Units are the components that are services there, in the order of All.
	Units []Unit
	// Gaps says what could not be looked at and why, a sentence each.
	Gaps []string
}

// Unit is one component that is a service.
type Unit struct {
	Component string
	// Program is the path of what is started.
	Program string
	// Link tells that Program is a symbolic link, or leads over one.
	Link bool
	// Wrapper says what is started in place of the binary of the component: a script, another
	// program that starts it; "" if it is that binary. A wrapper is not executed.
	Wrapper string
	// itself tells that the process runs a binary of the component's name, wherever that is.
	itself bool
	// SHA256 is that of the file in its place, in hexadecimal; "" if there is none, or nobody
	// asked.
	SHA256 string
	// Version is what that file says of itself: v1.37.2, and 3.7.3 for etcd; Running what the
	// process says, which may run another file. "" if there is none.
	Version, Running string
	// Fresh tells that the process runs the file that is in its place.
	Fresh   bool
	Service service.Service
	// Flags are those of its command, "--name=value" each.
	Flags []string
	// Gates are the feature gates of its flags and its configuration; Config is the path of
	// the latter.
	Gates  map[string]bool
	Config string
	// Health is what it says of itself; its configuration has it asked for at healthAddress and
	// healthPort, "" if it does not say.
	Health                    Answer
	healthAddress, healthPort string
}

// Get returns a unit, and whether there is one.
func (s State) Get(component string) (Unit, bool) {
	for _, u := range s.Units {
		if u.Component == component {
			return u, true
		}
	}
	return Unit{}, false
}

// Observe looks at all components of a host. It changes nothing. The error is of the
// connection, or says which program answered in a way that could not be understood.
func Observe(ctx context.Context, m host.Machine) (State, error) {
	r := &reader{m: m}
	var s State
	machine, err := r.text(ctx, "uname", "-m")
	if err != nil {
		return s, err
	}
	s.Arch = archOf(strings.TrimSpace(machine))
	for _, component := range All() {
		u, there, err := r.unit(ctx, component)
		if err != nil {
			return s, err
		}
		if !there {
			continue
		}
		if err := r.sum(ctx, &u); err != nil {
			return s, err
		}
		if err := r.versions(ctx, &u); err != nil {
			return s, err
		}
		if err := r.compare(ctx, &u); err != nil {
			return s, err
		}
		if err := r.config(ctx, &u); err != nil {
			return s, err
		}
		if u.Health, err = r.health(ctx, &u); err != nil {
			return s, err
		}
		if u.Service.NeedsReload {
			r.gap("%s has changed on the disk, and systemd has not read it: what it would start is the one of before", u.Service.Name)
		}
		s.Units = append(s.Units, u)
	}
	s.Gaps = r.gaps
	return s, nil
}

// archOf is what releases call a machine of uname(1).
func archOf(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return machine
}

// lookScript prints whether the path $1 leads over a link, and whether it is a binary; whether
// the process $2 runs it, and if that runs a binary, which. It executes none of them. sumScript
// prints a file's sum.
const (
	lookScript = `elf() { [ "$(head -c 4 -- "$1" 2>/dev/null | od -An -tx1 | tr -d ' \n')" = 7f454c46 ]; }
[ "$(readlink -f -- "$1")" = "$1" ] || echo link
elf "$1" && echo elf
[ -e "/proc/$2/exe" ] || exit 0
[ "$1" -ef "/proc/$2/exe" ] && echo fresh
elf "/proc/$2/exe" && printf 'runs %s\n' "$(readlink -- "/proc/$2/exe")"
true`
	sumScript = `[ -f "$1" ] && sha256sum <"$1"
true`
)

// unit looks at one component: at its service, the file and the process.
func (r *reader) unit(ctx context.Context, component string) (u Unit, there bool, err error) {
	u.Component = component
	if u.Service, err = service.Look(ctx, r.m, component); err != nil || !u.Service.Loaded {
		return u, false, err
	}
	if len(u.Service.Argv) == 0 {
		return u, false, fmt.Errorf("%s starts nothing", u.Service.Name)
	}
	u.Program, u.Flags = u.Service.Argv[0], service.Flags(u.Service.Argv[1:])
	if !checkPath(u.Program) {
		return u, false, fmt.Errorf("%s starts %q: want the absolute path of a binary", u.Service.Name, u.Program)
	}
	text, err := r.text(ctx, "sh", "-c", lookScript, "sh", u.Program, fmt.Sprint(u.Service.PID))
	if err != nil {
		return u, false, fmt.Errorf("look at %s: %w", u.Program, err)
	}
	binary := false
	for line := range strings.Lines(text) {
		switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "link":
			u.Link = true
		case "elf":
			binary = true
		case "fresh":
			u.Fresh = true
		case "runs":
			u.itself = path.Base(strings.TrimSuffix(rest, " (deleted)")) == component
		}
	}
	switch words := u.Service.Argv; {
	case path.Base(u.Program) != component:
		u.Wrapper = u.Program + ", which is not called " + component
	case !binary:
		u.Wrapper = u.Program + ", which is not a binary"
	case len(words) > 1 && !strings.HasPrefix(words[1], "-"):
		u.Wrapper = u.Program + " with words before its flags"
	}
	return u, true, nil
}

// compare holds the command that systemd tells, in which words that have white space in them
// cannot be told apart, against the process that it has started: where both are the same but for
// that, the words are those of the process. Where they are others, it is said.
func (r *reader) compare(ctx context.Context, u *Unit) error {
	if !u.Fresh || u.Wrapper != "" {
		return nil
	}
	text, err := r.m.ReadFile(ctx, fmt.Sprintf("/proc/%d/cmdline", u.Service.PID))
	switch {
	case errors.Is(err, fs.ErrNotExist): // it has ended
		return nil
	case err != nil:
		return fmt.Errorf("read the command of %s: %w", u.Service.Name, err)
	}
	words := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	told, runs := strings.Fields(strings.Join(u.Service.Argv[1:], " ")), strings.Fields(strings.Join(words[1:], " "))
	if !slices.Equal(told, runs) {
		r.gap("the process of %s was started with other flags than systemd tells, which are the ones that new binaries are asked for", u.Component)
		return nil
	}
	u.Service.Argv = append(u.Service.Argv[:1:1], words[1:]...)
	u.Flags = service.Flags(words[1:])
	return nil
}

// sum notes the sum of the file in its place.
func (r *reader) sum(ctx context.Context, u *Unit) error {
	text, err := r.text(ctx, "sh", "-c", sumScript, "sh", u.Program)
	if err != nil {
		return fmt.Errorf("look at %s: %w", u.Program, err)
	}
	u.SHA256, _, _ = strings.Cut(text, " ")
	return nil
}

// versions asks the file and the process which version they are, where they are binaries of the
// component: what else would do when it is asked is not known. A program that does not say so is
// no error: Version is "".
func (r *reader) versions(ctx context.Context, u *Unit) (err error) {
	if u.Wrapper == "" {
		u.Version, err = r.version(ctx, u.Program)
	}
	switch {
	case err != nil || u.Service.PID == 0:
	case u.Fresh:
		u.Running = u.Version
	case u.itself:
		u.Running, err = r.version(ctx, fmt.Sprintf("/proc/%d/exe", u.Service.PID))
	}
	return err
}

func (r *reader) version(ctx context.Context, program string) (string, error) {
	result, err := r.run(ctx, program, "--version")
	if err != nil || result.Code != 0 {
		return "", err
	}
	return parseVersion(string(result.Stdout)), nil
}

// parseVersion reads "Kubernetes v1.37.2", and etcd's "etcd Version: 3.7.3".
func parseVersion(text string) string {
	for line := range strings.Lines(text) {
		for _, begin := range []string{"Kubernetes ", "etcd Version: "} {
			if version, found := strings.CutPrefix(strings.TrimSpace(line), begin); found {
				return strings.TrimSpace(version)
			}
		}
	}
	return ""
}

// flag returns the last value of a flag; otherwise if it is not set.
func (u *Unit) flag(name, otherwise string) string {
	for _, flag := range u.Flags {
		if value, found := strings.CutPrefix(flag, "--"+name+"="); found {
			otherwise = value
		}
	}
	return otherwise
}

// setting is flag for etcd, which is set by variables too: ETCD_NAME, where no flag says
// otherwise (https://etcd.io/docs/v3.6/op-guide/configuration/).
func (u *Unit) setting(name string) string {
	return u.flag(name, u.Service.Environment[service.Variable(Etcd, name)])
}
