// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/skew"
	"refit.dev/refit/units"
)

// unitsProcedure is what package units has to do on one machine.
type unitsProcedure struct {
	run      string
	again    bool // put what was rolled back into its place once more
	upgrade  *Upgrade
	node     *corev1.Node
	stage    Stage
	version  skew.Version
	machine  host.Machine
	clock    clock.WithTicker
	patience time.Duration
	state    units.State
	want     map[string]units.Binary
	// takesPart says why the member of etcd on the machine does not; nil if it says so itself, or
	// if nobody can tell.
	takesPart func(ctx context.Context) (why string, err error)
}

func (p *unitsProcedure) Serving() []MachineStep { return p.steps(units.Plane()) }

func (p *unitsProcedure) Empty() []MachineStep {
	if p.stage.KubeletLater {
		return nil
	}
	return p.steps(units.Node())
}

func (p *unitsProcedure) After() []MachineStep { return nil }

// steps raise those of the components that are wanted.
func (p *unitsProcedure) steps(components []string) []MachineStep {
	var list []MachineStep
	for _, component := range components {
		b, wanted := p.want[component]
		if !wanted {
			continue
		}
		raise := &units.Raise{
			Machine: p.machine, Clock: p.clock, Component: component, Binary: b, Patience: p.patience, Run: p.run, Again: p.again,
		}
		if component == units.Etcd {
			raise.Healthy = p.takesPart
		}
		list = append(list, MachineStep{
			Name: Step(component), Text: component + " to " + p.stage.Version,
			Done: raise.Done,
			Do: func(ctx context.Context, out host.Output) error {
				raise.Output = out
				return p.explained(raise.Do(ctx))
			},
		})
	}
	return list
}

// explained says of an error what it means for the step.
func (p *unitsProcedure) explained(err error) error {
	back, rolled := errors.AsType[*units.RolledBackError](err)
	left, stranded := errors.AsType[*units.NotBackError](err)
	switch {
	case err == nil:
		return nil
	case rolled:
		return &FinalError{hint.Wrap(err, "%s", p.afterRollback(back))}
	case host.Temporary(err):
		return &OutcomeUnknownError{err}
	case stranded:
		return &FinalError{hint.Wrap(err, "%s is still the new binary, and %s the one of before: mv -T %s %s, and systemctl restart %s.service", left.Program, left.Kept, left.Kept, left.Program, left.Component)}
	}
	return err
}

// afterRollback is what to do when a component was rolled back.
func (p *unitsProcedure) afterRollback(back *units.RolledBackError) string {
	advice := fmt.Sprintf("journalctl -u %s.service on the machine says why; nothing new is started", back.Component)
	if back.Still == "" {
		return advice
	}
	u, _ := p.state.Get(back.Component)
	advice += fmt.Sprintf("; neither binary gets well: %s is the one of before, and the new one waits as %s", u.Program, units.Waiting(units.Unit{Program: u.Program}, p.want[back.Component]))
	if back.Component == units.Etcd && p.upgrade.Backup != nil {
		advice += "; the backup that was taken first brings etcd back: refit restore " + p.upgrade.Backup.File
	}
	return advice
}

// Verify looks at everything anew.
func (p *unitsProcedure) Verify(ctx context.Context, _ func(component string) string) ([]string, error) {
	var err error
	if p.state, err = units.Observe(ctx, p.machine); err != nil {
		return nil, err
	}
	problems := units.Verify(p.state, p.want)
	for component := range p.want {
		u, _ := p.state.Get(component)
		if component != units.Etcd && u.Running != p.stage.Version && len(problems) == 0 {
			problems = append(problems, fmt.Sprintf("%s runs %s", component, u.Running))
		}
	}
	slices.Sort(problems)
	return problems, nil
}

func (p *unitsProcedure) State(ctx context.Context) (string, error) {
	s, err := units.Observe(ctx, p.machine)
	if err != nil {
		return "", err
	}
	return units.Describe(s), nil
}

// Close leaves the machine to the Fleet, for the next visit.
func (p *unitsProcedure) Close() error { return nil }
