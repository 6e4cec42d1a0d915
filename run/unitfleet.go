// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/release"
	"refit.dev/refit/skew"
	"refit.dev/refit/units"
)

// Binaries says how components are raised that are services of systemd.
type Binaries struct {
	// Source is where binaries come from: a directory or a URL, see package release.
	Source string `json:"source"`
	// Sums are the SHA-256 of the binaries of the plan, in hexadecimal, by their paths in a
	// release. Others are not taken, whatever the source says by now.
	Sums map[string]string `json:"sums"`
	// Patience is how long a component may take to be well before the one of before comes back.
	Patience metav1.Duration `json:"patience"`
}

// DefaultPatience is how long a component may take to be well if nothing else is said: etcd
// and API servers of large clusters take a minute or two to start.
const DefaultPatience = 3 * time.Minute

// validate says what is wrong with the way to binaries.
func (u *Binaries) validate() error {
	switch {
	case u.Source == "":
		return errors.New("the source of the binaries is missing")
	case len(u.Sums) == 0:
		return errors.New("the sums of the binaries are missing")
	case u.Patience.Duration <= 0:
		return fmt.Errorf("a component is waited for %s: want more than 0", u.Patience.Duration)
	}
	return nil
}

// UnitFleet is the Machines of a cluster whose components are services of systemd.
type UnitFleet struct {
	// Reach is that of Fleet.
	Reach func(node *corev1.Node, run string) (host.Machine, error)
	// Source opens the place with the binaries.
	Source func() (*release.Source, error)
	Clock  clock.WithTicker
}

// Fetch sends the binaries to the machine, where they wait beside the ones in use, and asks
// them whether they would start with what the units say.
func (f *UnitFleet) Fetch(ctx context.Context, v Visit, out host.Output) error {
	v.Stage.Components = v.Upgrade.componentsOf(v.Node.Name, v.Stage.Version)
	p, err := f.open(ctx, v)
	if err != nil {
		return err
	}
	source, err := f.Source()
	if err != nil {
		return fmt.Errorf("the source of the binaries: %w", err)
	}
	var problems []string
	for _, component := range units.All() {
		b, wanted := p.want[component]
		if !wanted {
			continue
		}
		u, _ := p.state.Get(component)
		if err := f.send(ctx, p, source, u, b, out); err != nil {
			return err
		}
		asked, err := units.Ask(ctx, units.On(p.machine), units.Waiting(u, b), u)
		if err != nil {
			return fmt.Errorf("ask %s %s: %w", component, b.Version, err)
		}
		for _, problem := range append(asked.Problems, disorder(u, asked.Version, b)...) {
			problems = append(problems, component+" "+b.Version+" "+problem)
		}
	}
	if len(problems) > 0 {
		return hint.Wrap(errors.New(strings.Join(problems, "; ")), "change the units on the machine (systemctl cat shows one), then resume; for other binaries, or none of etcd, abort the run and make a new plan; what runs was not touched")
	}
	return nil
}

// disorder says what is wrong with the version that a binary tells. One that tells none has been
// told of.
func disorder(u units.Unit, says string, b units.Binary) []string {
	switch {
	case says == "" || u.SHA256 == b.SHA256:
	case u.Component == units.Etcd:
		if why := skew.EtcdStep(cmp.Or(u.Running, u.Version), says); why != "" {
			return []string{why}
		}
	case says != b.Version:
		return []string{"says that it is " + says}
	}
	return nil
}

// send stages a binary, unless it is there.
func (f *UnitFleet) send(ctx context.Context, p *unitsProcedure, source *release.Source, u units.Unit, b units.Binary, out host.Output) error {
	there, err := units.Staged(ctx, p.machine, u, b)
	if err != nil || there {
		return err
	}
	file := release.File{Version: p.version, Arch: p.state.Arch, Name: u.Component}
	found, err := source.Fetch(ctx, file)
	if err != nil {
		return err
	}
	if found.SHA256 != b.SHA256 {
		return hint.Wrap(fmt.Errorf("%s has another %s than when the upgrade was planned", source, file.Path()), "put the one of then back, or abort the run and make a new plan")
	}
	if out != nil {
		out(fmt.Sprintf("sending %s %s, %d MiB", u.Component, b.Version, found.Size>>20))
	}
	return units.Stage(ctx, p.machine, u, b, func() (io.ReadCloser, error) { return os.Open(found.Path) })
}

// Open looks at the machine, for what is to be done there.
func (f *UnitFleet) Open(ctx context.Context, v Visit) (Procedure, error) { return f.open(ctx, v) }

func (f *UnitFleet) open(ctx context.Context, v Visit) (*unitsProcedure, error) {
	version, err := skew.Parse(v.Stage.Version)
	if err != nil {
		return nil, err
	}
	machine, err := f.Reach(v.Node, v.Run)
	if err != nil {
		return nil, fmt.Errorf("reach the machine of node %s: %w", v.Node.Name, err)
	}
	if err := host.CheckSame(ctx, machine, v.Node); err != nil {
		return nil, err
	}
	p := &unitsProcedure{run: v.Run, again: v.Again, upgrade: v.Upgrade, node: v.Node, stage: v.Stage, version: version, machine: machine, clock: f.Clock, patience: v.Upgrade.Units.Patience.Duration}
	if p.state, err = units.Observe(ctx, machine); err != nil {
		return nil, err
	}
	if p.want, err = binariesOf(v, version, p.state); err != nil {
		return nil, err
	}
	err = p.findMember(ctx)
	return p, err
}

// binariesOf are the binaries of a visit. An etcd that the release does not have stays as it is.
// A component that was planned and is no service any more is an error: the others must not go on
// without it.
func binariesOf(v Visit, version skew.Version, s units.State) (map[string]units.Binary, error) {
	want := map[string]units.Binary{}
	for _, component := range v.Stage.Components {
		u, there := s.Get(component)
		if !there {
			return nil, hint.Wrap(fmt.Errorf("there is no %s.service any more, and it is to be raised", component),
				"see what systemctl status %s.service says, and mend it, then resume; or abort the run and make a new plan", component)
		}
		path := release.File{Version: version, Arch: s.Arch, Name: component}.Path()
		sum, known := v.Upgrade.Units.Sums[path]
		switch {
		case !known && component == units.Etcd:
			continue
		case !known:
			return nil, fmt.Errorf("the plan has no sum of %s", path)
		case u.Wrapper != "":
			return nil, hint.Wrap(fmt.Errorf("%s starts %s: refit would replace that", u.Service.Name, u.Wrapper), "name the binary itself in %s", u.Service.Name)
		case u.Link:
			return nil, hint.Wrap(fmt.Errorf("%s is a symbolic link: refit would not know whose file it replaces", u.Program), "name the file itself in %s", u.Service.Name)
		}
		want[component] = units.Binary{Version: version.String(), SHA256: sum}
	}
	return want, nil
}

// componentsOf are the components that are raised to a version on a node, in their order.
func (u *Upgrade) componentsOf(node, version string) []string {
	var list []string
	for _, component := range units.All() {
		if slices.ContainsFunc(u.Stages, func(s Stage) bool {
			return s.Version == version && slices.Contains(s.Nodes, node) && slices.Contains(s.Components, component)
		}) {
			list = append(list, component)
		}
	}
	return list
}
