// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/document"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/plan"
)

// What a saved plan says it is.
const (
	savedVersion = "refit.dev/v1alpha1"
	savedKind    = "MaintenancePlan"
)

// SavedPlan is a plan as it is shown to scripts, kept, approved and applied later.
type SavedPlan struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	plan.Plan
	// Spec is that of the run, without its name, which it gets when it begins.
	Spec *Spec `json:"spec"`
	// Ground is what the plan stands on.
	Ground plan.Ground `json:"ground"`
}

// Save returns the plan in the form in which it can be kept.
func (p *Prepared) Save() SavedPlan {
	spec := *p.Spec
	spec.Run = ""
	return SavedPlan{APIVersion: savedVersion, Kind: savedKind, Plan: *p.Plan, Spec: &spec, Ground: p.Ground}
}

// Type is what the plan says it is.
func (p *SavedPlan) Type() metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: p.APIVersion, Kind: p.Kind}
}

// ReadPlan reads a saved plan, in YAML or JSON. The error says why it is none, or
// none that can be applied; it does not name the file.
func ReadPlan(r io.Reader) (*SavedPlan, error) {
	var saved SavedPlan
	if err := document.Read(r, savedVersion, savedKind, &saved); err != nil {
		return nil, err
	}
	if err := saved.validate(); err != nil {
		return nil, fmt.Errorf("it does not make sense: %w", err)
	}
	saved.Spec.Cluster.Server = cluster.ServerName(saved.Spec.Cluster.Server) // which had a login in older plans
	return &saved, nil
}

// validate says what is wrong with a plan, as far as that can be said without a cluster.
func (p *SavedPlan) validate() error {
	switch {
	case p.Spec == nil:
		return errors.New("it has no spec")
	case len(p.Ground.Nodes) == 0:
		return errors.New("it does not say what it stands on (ground)")
	case len(p.Blockers) > 0:
		return errors.New("it has blockers")
	}
	spec := *p.Spec
	spec.Run = NewID(spec.Created)
	if err := spec.validate(); err != nil {
		return err
	}
	if spec.MaxMoves == 0 || len(spec.Order) == 0 {
		return errors.New("its spec has no order or no maxMoves")
	}
	for _, x := range []float64{p.LowerBoundSeconds, p.PredictedSeconds} {
		if !reasonable(x) {
			return fmt.Errorf("%v seconds: want 0 or more", x)
		}
	}
	if p.Pods < 0 || p.Moves < 0 || p.Slots < 1 || p.Eager != spec.Eager || p.Pods != spec.Pods {
		return errors.New("pods, moves, slots or eager are not those of the spec")
	}
	ground := make(map[string]plan.GroundNode, len(p.Ground.Nodes))
	for _, g := range p.Ground.Nodes {
		ground[g.Name] = g
	}
	names := make([]string, len(p.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		names[i] = n.Name
		t := spec.target(n.Name)
		if t == nil || t.UID != n.UID {
			return fmt.Errorf("node %s is not that of the spec", n.Name)
		}
		if g := ground[t.Name]; g.UID != t.UID || g.Unschedulable != t.Unschedulable { // a change of it would go unnoticed
			return fmt.Errorf("node %s is not that of the ground", n.Name)
		}
		last := 0.0
		for _, x := range []*float64{n.Start, n.Drained, n.Back, n.Done} {
			if x != nil && (!reasonable(*x) || *x < last) {
				return fmt.Errorf("the times of node %s are not in order", n.Name)
			}
			if x != nil {
				last = *x
			}
		}
	}
	if !slices.Equal(names, spec.Order) {
		return errors.New("its nodes are not in the order of the spec")
	}
	return nil
}

// reasonable: 68 years are more than any maintenance takes.
func reasonable(seconds float64) bool { return seconds >= 0 && seconds <= math.MaxInt32 }

// Plan is Prepare for those who want to look: where it would not be safe to begin
// the plan is returned nonetheless, with Blocked set. It may be left open what is
// to be done to the nodes; such a plan cannot be run.
func (o *Operator) Plan(ctx context.Context, r Request) (*Prepared, error) {
	open := r.Command == "" && !r.Reboot
	if open {
		r.Command = ":" // the shell's word for nothing
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	p, err := o.opened(ctx, func(watching context.Context) (*Prepared, error) { return o.prepare(ctx, watching, r) })
	if err == nil && open {
		p.Spec.Command = ""
	}
	return p, err
}

// PrepareSaved is Prepare for a plan that was saved: the run will be exactly that
// one. It is a *BlockedError, which lists what has changed, if the plan does not
// hold any more.
func (o *Operator) PrepareSaved(ctx context.Context, saved *SavedPlan) (*Prepared, error) {
	p, err := o.opened(ctx, func(watching context.Context) (*Prepared, error) { return o.prepareSaved(ctx, watching, saved) })
	return p.unblocked(err)
}

// opened prepares with a watch that goes on beyond the end of ctx, because steps
// that are not cut short need it; it ends with Close.
func (o *Operator) opened(ctx context.Context, prepare func(watching context.Context) (*Prepared, error)) (*Prepared, error) {
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	p, err := prepare(watching)
	if err != nil {
		stop()
		return nil, err
	}
	p.stop = stop
	return p, nil
}

// unblocked closes what cannot begin.
func (p *Prepared) unblocked(err error) (*Prepared, error) {
	if err == nil && p.Blocked != nil {
		err = p.Blocked
		p.Close()
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (o *Operator) prepareSaved(ctx, watching context.Context, saved *SavedPlan) (*Prepared, error) {
	watcher, err := o.watch(ctx, watching)
	if err != nil {
		return nil, err
	}
	id, err := o.identity(ctx)
	if err != nil {
		return nil, err
	}
	if !id.Same(saved.Spec.Cluster) {
		return nil, hint.Wrap(badInput("the plan was made for another cluster: for that at %s, and this is %s", saved.Spec.Cluster.Server, id.Server),
			"choose that cluster with --context or --kubeconfig")
	}
	now := o.Clock.Now()
	snapshot := watcher.Snapshot()
	spec := *saved.Spec
	spec.Run, spec.Created, spec.Cluster = NewID(now), now.UTC(), id
	slots := spec.MaxUnavailable.Of(len(snapshot.Nodes))
	in, view := spec.intent(slots), spec.view(snapshot)
	changes := saved.Ground.Changes(in, view.World.GroundOf(in), saved.Spec.Created)
	if slots < saved.Slots {
		changes = append(changes, fmt.Sprintf("%d nodes may be out at once now, not %d: the cluster has %d", slots, saved.Slots, len(snapshot.Nodes)))
	}
	if len(changes) > 0 {
		return nil, hint.Wrap(&BlockedError{fmt.Errorf("the cluster has changed since the plan was made:\n  %s", strings.Join(changes, "\n  "))},
			"make a new plan; nothing was changed")
	}
	if spec.Reboot {
		for _, t := range spec.Nodes {
			if n := snapshot.Node(t.Name); n != nil && !spec.canReboot(n.Node) {
				return nil, badInput("refit cannot reboot %s, and the plan wants it to", t.Name)
			}
		}
	}
	warnings, err := spec.checkAccess(snapshot)
	if err != nil {
		return nil, err
	}
	approved := saved.Plan
	p := &Prepared{Warnings: warnings, Spec: &spec, operator: o, watcher: watcher, Total: len(snapshot.Nodes), Plan: &approved, Ground: saved.Ground}
	if err := p.judge(ctx, snapshot, view); err != nil {
		return nil, err
	}
	return p, nil
}
