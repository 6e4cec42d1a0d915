// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"fmt"
	"path"
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
	// Link tells that Program is a symbolic link.
	Link bool
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
	// Health is what it says of itself.
	Health Answer
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
		u, there, err := r.unit(ctx, component, true)
		if err != nil {
			return s, err
		}
		if !there {
			continue
		}
		if err := r.versions(ctx, &u); err != nil {
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

// lookScript prints what is at the path $1, whether the process $2 runs it, and its sum if $3 is yes.
const lookScript = `[ -L "$1" ] && echo link
[ -e "/proc/$2/exe" ] && [ "$1" -ef "/proc/$2/exe" ] && echo fresh
[ "$3" = yes ] && [ -f "$1" ] && sha256sum <"$1"
true`

// unit looks at one component: at its service, the file and the process.
func (r *reader) unit(ctx context.Context, component string, sum bool) (u Unit, there bool, err error) {
	u.Component = component
	if u.Service, err = service.Look(ctx, r.m, component); err != nil || !u.Service.Loaded {
		return u, false, err
	}
	if len(u.Service.Argv) == 0 {
		return u, false, fmt.Errorf("%s starts nothing", u.Service.Name)
	}
	u.Program, u.Flags = u.Service.Argv[0], flagsOf(u.Service.Argv[1:])
	if !checkPath(u.Program) {
		return u, false, fmt.Errorf("%s starts %q: want the absolute path of a binary", u.Service.Name, u.Program)
	}
	want := "no"
	if sum {
		want = "yes"
	}
	text, err := r.text(ctx, "sh", "-c", lookScript, "sh", u.Program, fmt.Sprint(u.Service.PID), want)
	if err != nil {
		return u, false, fmt.Errorf("look at %s: %w", u.Program, err)
	}
	for line := range strings.Lines(text) {
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); {
		case word == "link":
			u.Link = true
		case word == "fresh":
			u.Fresh = true
		case len(word) == 64:
			u.SHA256 = word
		}
	}
	return u, true, nil
}

// versions asks the file and the process which version they are. A program that does not
// say so is no error: Version is "".
func (r *reader) versions(ctx context.Context, u *Unit) (err error) {
	if u.Version, err = r.version(ctx, u.Program); err != nil || u.Service.PID == 0 {
		return err
	}
	if u.Running = u.Version; !u.Fresh {
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

// flagsOf makes "--name value" and "-name=value" into "--name=value".
func flagsOf(words []string) []string {
	var flags []string
	for _, word := range words {
		last := len(flags) - 1
		switch {
		case strings.HasPrefix(word, "-"):
			flags = append(flags, "--"+strings.TrimLeft(word, "-"))
		case last >= 0 && !strings.Contains(flags[last], "="):
			flags[last] += "=" + word
		}
	}
	return flags
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

// base is the directory of a program.
func base(program string) string { return path.Dir(program) }
