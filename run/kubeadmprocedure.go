// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/kubeadm"
)

const (
	// partsNeeded are the parts of a host that the steps of an upgrade depend on.
	partsNeeded = kubeadm.PartPackages | kubeadm.PartRepositories | kubeadm.PartKubelet | kubeadm.PartPods |
		kubeadm.PartImages | kubeadm.PartCopies
	// stateLasts is how long a look is good, if nothing was done on the machine since.
	stateLasts = 30 * time.Second
)

// kubeadmProcedure is what package kubeadm has to do on one machine.
type kubeadmProcedure struct {
	target  kubeadm.Target
	stage   Stage
	machine host.Machine
	clock   clock.WithTicker
	all     []kubeadm.Step

	state  kubeadm.State
	looked map[kubeadm.Parts]time.Time // when each part was looked at last
}

// look looks at parts of the machine that were not looked at a moment ago.
func (p *kubeadmProcedure) look(ctx context.Context, parts kubeadm.Parts) error {
	if p.looked == nil {
		p.looked = map[kubeadm.Parts]time.Time{}
	}
	stale := kubeadm.Parts(0)
	for part := kubeadm.Parts(1); part <= parts; part <<= 1 {
		if at, known := p.looked[part]; parts&part != 0 && (!known || p.clock.Since(at) > stateLasts) {
			stale |= part
		}
	}
	if stale == 0 {
		return nil
	}
	query := p.target.Query(stale)
	query.Kubelet = p.state.Kubelet
	at := p.clock.Now()
	seen, err := kubeadm.Observe(ctx, p.machine, query)
	if err != nil {
		return err
	}
	p.state = p.state.With(seen)
	for part := kubeadm.Parts(1); part <= stale; part <<= 1 {
		if stale&part != 0 {
			p.looked[part] = at
		}
	}
	return nil
}

// forget has parts looked at again.
func (p *kubeadmProcedure) forget(parts kubeadm.Parts) {
	for part := range p.looked {
		if parts&part != 0 {
			delete(p.looked, part)
		}
	}
}

func (p *kubeadmProcedure) Serving() []MachineStep {
	if p.stage.Role == ControlPlaneKubelet { // kubeadm was there in an earlier visit
		return p.steps(kubeadm.Ahead)
	}
	return p.steps(kubeadm.Ahead, kubeadm.Turn)
}

func (p *kubeadmProcedure) Empty() []MachineStep {
	if p.stage.KubeletLater {
		return nil
	}
	return p.steps(kubeadm.Empty)
}

func (p *kubeadmProcedure) After() []MachineStep {
	if p.stage.KubeletLater {
		return nil
	}
	return p.steps(kubeadm.After)
}

// steps returns the steps of some stages.
func (p *kubeadmProcedure) steps(stages ...kubeadm.Stage) []MachineStep {
	var list []MachineStep
	for i, s := range p.all {
		if !slices.Contains(stages, s.Stage) {
			continue
		}
		list = append(list, MachineStep{
			Name: Step(s.Name), Text: s.Words,
			Done: func(ctx context.Context) (bool, error) {
				if err := p.look(ctx, s.Changes); err != nil {
					return false, err
				}
				done := p.all[i].Done(p.state)
				if !done {
					p.forget(s.Changes) // it may be in a moment
				}
				return done, nil
			},
			Do: func(ctx context.Context, out host.Output) error { return p.do(ctx, i, out) },
		})
	}
	return list
}

func (p *kubeadmProcedure) do(ctx context.Context, i int, out host.Output) error {
	s := p.all[i]
	if err := p.look(ctx, partsNeeded); err != nil {
		return &OutcomeUnknownError{err}
	}
	work := kubeadm.Work{Machine: p.machine, Clock: p.clock, Output: out, Lost: func(err error) {
		if out != nil {
			out("the connection was lost and is tried again: " + err.Error())
		}
	}}
	err := s.Do(ctx, work, p.state)
	p.forget(s.Changes)
	if s.Changes&kubeadm.PartPackages != 0 {
		p.forget(kubeadm.PartImages) // which images are wanted, kubeadm says
	}
	if err == nil && s.Name == kubeadm.StepUpgrade {
		p.target.KubeadmDone = true
		p.all = kubeadm.Steps(p.target, p.state)
	}
	failure, explained := errors.AsType[*kubeadm.Failure](err)
	switch {
	case err != nil && host.Temporary(err):
		return &OutcomeUnknownError{err}
	case explained:
		texts := []string{failure.Cause}
		for _, x := range failure.Preflight {
			texts = append(texts, x.Name+": "+x.Message)
		}
		err = hint.Wrap(errors.New(strings.Join(texts, "; ")), "%s", failure.Hint)
		if failure.Kind == kubeadm.KindUnreachable {
			err = &ServerAwayError{err}
		}
	}
	return err
}

// Verify looks at everything anew. mirrored is the hash that the cluster has for a static
// pod of this machine; "" if it has none.
func (p *kubeadmProcedure) Verify(ctx context.Context, mirrored func(component string) string) ([]string, error) {
	if err := p.lookAnew(ctx); err != nil {
		return nil, err
	}
	var problems []string
	switch {
	case !p.stage.KubeletLater:
		problems = kubeadm.Verify(p.target, p.state)
	case p.stage.Role.ControlPlane():
		problems = kubeadm.VerifyPlane(p.target, p.state)
	}
	for _, s := range p.all {
		if s.Name == kubeadm.StepUpgrade && p.stage.Role != ControlPlaneKubelet && !s.Done(p.state) && len(problems) == 0 {
			problems = append(problems, "kubeadm has not run to its end")
		}
	}
	if p.state.Pods == nil {
		return problems, nil
	}
	for _, pod := range p.state.Pods.Static {
		if c, has := pod.Running, mirrored(pod.Component); c != nil && c.PodUID != "" && has != "" && has != c.PodUID {
			problems = append(problems, "the cluster still has the "+pod.Component+" of an earlier manifest")
		}
	}
	return problems, nil
}

func (p *kubeadmProcedure) State(ctx context.Context) (string, error) {
	if err := p.lookAnew(ctx); err != nil {
		return "", err
	}
	return kubeadm.Describe(p.state), nil
}

// lookAnew looks at what the machine runs, whatever was seen a moment ago.
func (p *kubeadmProcedure) lookAnew(ctx context.Context) error {
	p.forget(kubeadm.PartAll)
	parts := kubeadm.PartPackages | kubeadm.PartKubelet
	if p.stage.Role.ControlPlane() {
		parts |= kubeadm.PartPods | kubeadm.PartHealth
	}
	return p.look(ctx, parts)
}

// Close leaves the machine to the Fleet, for the next visit.
func (p *kubeadmProcedure) Close() error { return nil }
