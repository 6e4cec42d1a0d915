// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/release"
	"refit.dev/refit/skew"
	"refit.dev/refit/units"
)

// UnitMachines are Hosts whose components are services of systemd.
type UnitMachines struct {
	// Reach is that of Machines.
	Reach func(node *corev1.Node) (host.Machine, error)
	// Source has the binaries; nil if none is named.
	Source *release.Source
	// Goal is the version that is aimed at; without a patch the newest of its minor.
	Goal skew.Version
}

// Look looks at the services of a machine, and at what the source has for them. The binaries of
// the releases that a plan would take are fetched to this machine and, if it can run them, asked
// whether they know the flags and feature gates of the units.
func (m UnitMachines) Look(ctx context.Context, node *cluster.Node, minors []int) (Host, error) {
	machine, err := m.Reach(node.Node)
	if err == nil {
		err = host.CheckSame(ctx, machine, node.Node)
	}
	if err != nil {
		return Host{Problem: err.Error()}, ctx.Err()
	}
	state, err := units.Observe(ctx, machine)
	if err != nil {
		return Host{Problem: err.Error()}, ctx.Err()
	}
	h := hostOfUnits(state)
	if _, there := state.Get(units.Etcd); there && h.Etcd == nil {
		why, asked, err := etcd.AskMember(ctx, machine, node.Node, memberPatience)
		if err != nil {
			h.Gaps = append(h.Gaps, "whether its member of etcd takes part: "+err.Error())
		}
		if asked {
			h.Etcd = &EtcdHealth{Health: Health{Problem: why}}
		}
	}
	if len(state.Units) > 0 {
		if err := disksOf(ctx, machine, state, &h); err != nil {
			h.Gaps = append(h.Gaps, "its disks: "+err.Error())
		}
	}
	for _, minor := range minors {
		if m.Source == nil {
			break
		}
		offers, err := m.offers(ctx, state, minor, &h)
		if err != nil {
			offers = Offers{Problem: err.Error()}
		}
		h.Offers[minor] = offers
	}
	return h, ctx.Err()
}

// memberPatience is how long a member of etcd has to answer.
const memberPatience = 5 * time.Second

// hostOfUnits takes from what a host was found to be what is decided by.
func hostOfUnits(s units.State) Host {
	h := Host{Gaps: s.Gaps, Offers: map[int]Offers{}, Binaries: map[string]string{}, Refused: map[string][]string{}}
	for _, u := range s.Units {
		h.Packages = append(h.Packages, Package{Name: u.Component, Version: cmp.Or(u.Running, u.Version)})
		h.Units = append(h.Units, Unit{Component: u.Component, Program: u.Program, Link: u.Link, Wrapper: u.Wrapper, Running: u.Running, Problem: u.Health.Problem})
		switch {
		case u.Component == units.Kubelet:
			h.KubeletFlags, h.KubeletGates = u.Flags, u.Gates
		case u.Component == units.APIServer && u.Health.Asked:
			h.APIServer = &Health{Problem: u.Health.Problem}
		case u.Component == units.Etcd && u.Health.Asked:
			h.Etcd = &EtcdHealth{Health: Health{Problem: u.Health.Problem}, Alarm: u.Health.Alarm}
		}
	}
	return h
}

// disksOf looks how much is free where the binaries are.
func disksOf(ctx context.Context, m host.Machine, s units.State, h *Host) error {
	var dirs []string
	for _, u := range s.Units {
		dirs = append(dirs, path.Dir(u.Program))
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		result, err := m.Exec(ctx, []string{"df", "--output=avail,target", "--block-size=1", "--", dir}, host.ExecOptions{})
		if err := host.Succeed(result, err); err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSpace(string(result.Stdout)), "\n")
		free, mount, _ := strings.Cut(strings.TrimSpace(lines[len(lines)-1]), " ")
		n, err := strconv.ParseInt(free, 10, 64)
		if err != nil {
			return fmt.Errorf("df says of %s: %.100q", dir, result.Stdout)
		}
		if !slices.ContainsFunc(h.Disks, func(d Disk) bool { return d.Mount == mount }) {
			h.Disks = append(h.Disks, Disk{Path: dir, Mount: mount, Available: n})
		}
	}
	return nil
}

// offers are the binaries that the source has of a minor for the components of a host.
func (m UnitMachines) offers(ctx context.Context, s units.State, minor int, h *Host) (Offers, error) {
	versions, err := m.Source.Releases(ctx, minor)
	if err != nil {
		return Offers{}, err
	}
	aimed := m.Goal.Minor == minor && m.Goal.Patch != skew.Unknown
	if aimed && !slices.ContainsFunc(versions, func(v skew.Version) bool { return v.Compare(m.Goal) == 0 }) {
		versions = append(versions, m.Goal)
	}
	var o Offers
	for i, v := range slices.Backward(versions) { // best first
		taken := i == len(versions)-1
		if aimed {
			taken = v.Compare(m.Goal) == 0
		}
		for _, u := range s.Units {
			offer, err := m.offer(ctx, s, u, v, taken, h)
			switch {
			case errors.Is(err, release.ErrMissing):
				continue
			case err != nil:
				return Offers{}, err
			}
			o.Packages = append(o.Packages, offer)
		}
	}
	return o, nil
}

// offer is one binary of a release. One that would be taken is fetched and asked.
func (m UnitMachines) offer(ctx context.Context, s units.State, u units.Unit, v skew.Version, taken bool, h *Host) (Offer, error) {
	file := release.File{Version: v, Arch: s.Arch, Name: u.Component}
	o := Offer{Name: u.Component, Version: v.String(), Upstream: v}
	if u.Component == units.Etcd {
		o.Version = "" // it has versions of its own
	}
	if !taken {
		has, err := m.Source.Has(ctx, file)
		if err == nil && !has {
			err = release.ErrMissing
		}
		return o, err
	}
	binary, err := m.Source.Fetch(ctx, file)
	if err != nil {
		return o, err
	}
	h.Binaries[file.Path()], o.Bytes = binary.SHA256, binary.Size
	if runtime.GOOS != "linux" || runtime.GOARCH != s.Arch {
		return o, nil // asked on its machine, before anything is touched
	}
	asked, err := units.Ask(ctx, here, binary.Path, u)
	switch {
	case errors.Is(err, errNotHere): // as on a disk that nothing is run from
		return o, nil
	case err != nil:
		return o, fmt.Errorf("ask %s: %w", binary.Path, err)
	}
	if u.Component == units.Etcd {
		o.Version = asked.Version
	} else if asked.Version != v.String() && asked.Version != "" {
		asked.Problems = append(asked.Problems, "says that it is "+asked.Version)
	}
	for _, problem := range asked.Problems {
		h.Refused[v.String()] = append(h.Refused[v.String()], u.Component+" "+v.String()+" "+problem)
	}
	return o, nil
}

// errNotHere says that a program cannot be run on this machine.
var errNotHere = errors.New("this machine cannot run it")

// cannotRun is what env(1) ends with if it may not run a program, or cannot.
const cannotRun = 126

// here runs a program on this machine as this user, with nothing of this process's environment.
func here(ctx context.Context, argv []string) (int, string, error) {
	alone := []string{"/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	code, output, err := units.On(host.Own(nil))(ctx, append(alone, argv...))
	if err == nil && code == cannotRun {
		err = fmt.Errorf("%w: %.300s", errNotHere, strings.TrimSpace(output))
	}
	return code, output, err
}

// binaryChanges says which binaries of a plan are others now.
func (p *Plan) binaryChanges(now *Plan) []string {
	var changes []string
	for _, path := range slices.Sorted(maps.Keys(p.Binaries)) {
		if has := now.Binaries[path]; has != p.Binaries[path] && has != "" {
			changes = append(changes, path+" is another file in the source now")
		}
	}
	return changes
}
