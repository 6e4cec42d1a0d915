// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
	"refit.dev/refit/witness"
)

// limit is a guard against hanging, of one trial.
const limit = 5 * time.Minute

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q: %v", name, text, err)
	}
	return n
}

func TestSoak(t *testing.T) {
	seeds, first := number(t, "REFIT_SOAK_SEEDS", 20), number(t, "REFIT_SOAK_FIRST", 1)
	if seeds == 0 {
		t.Fatal("REFIT_SOAK_SEEDS=0: want 1 or more, or nothing was tried")
	}
	s := newSite(t)
	var moves []float64
	for seed := first; seed < first+seeds; seed++ {
		tr := newTrial(seed)
		ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errors.New("the trial hangs"))
		r, err := s.try(ctx, t, tr)
		cancel()
		if err != nil {
			// What a failure leaves behind would be the next trial's.
			t.Fatalf("%s: %v\nhint: %s\nagain: REFIT_SOAK_FIRST=%d REFIT_SOAK_SEEDS=1 go test ./soak", tr, err, hint.Of(err), seed)
		}
		t.Logf("%s: %s", tr, r)
		moves = append(moves, r.moves)
	}
	slices.Sort(moves)
	t.Logf("%d trials, no budget broken; moves per pod: median %.3f, at most %.3f", seeds, moves[len(moves)/2], moves[len(moves)-1])
}

// result is how a trial went.
type result struct {
	setup, took time.Duration
	moves       float64 // per pod
	peak, slots int
}

func (r *result) String() string {
	return fmt.Sprintf("%.1f s (set up in %.1f s), %.3f moves per pod, %d of %d slots used",
		r.took.Seconds(), r.setup.Seconds(), r.moves, r.peak, r.slots)
}

// try takes one trial through maintenance. The error says what went wrong.
func (s *site) try(ctx context.Context, t *testing.T, tr *trial) (*result, error) {
	t.Helper()
	begun := time.Now()
	if err := s.set(ctx, tr); err != nil {
		return nil, err
	}
	r := &result{setup: time.Since(begun)}
	w, err := witness.Start(ctx, witness.Options{
		Config: twintest.Config(t, s.twin), AuditLog: s.twin.AuditLog(), ControlPlane: []string{twin.SystemGroup},
	})
	if err != nil {
		return nil, err
	}
	begun = time.Now()
	if err := s.maintain(ctx, tr, r); err != nil {
		return nil, errors.Join(err, w.Close(), s.pods(ctx, tr))
	}
	r.took = time.Since(begun)
	verdict, err := w.Judge(ctx)
	if err != nil {
		return nil, err
	}
	r.moves, r.peak = verdict.MovesPerPod(), verdict.Busiest.Out
	if err := errors.Join(judge(verdict, tr, r), s.pods(ctx, tr), s.marks(ctx)); err != nil {
		return nil, err
	}
	return r, s.clear(ctx, tr)
}

// maintain does what refit maintain --all --reboot does.
func (s *site) maintain(ctx context.Context, tr *trial, r *result) error {
	share, err := run.ParseShare(tr.maxUnavailable)
	if err != nil {
		return err
	}
	request := run.Request{
		All: true, Reboot: true, MaxUnavailable: share, MaxUnavailablePerZone: tr.perZone, MaxMoves: run.DefaultMaxMoves,
		WorkEstimate: time.Second, Drain: run.Drain{IgnoreDaemonSets: true}, Timeouts: run.DefaultTimeouts(),
	}
	p, err := s.operator.Prepare(ctx, request)
	if err != nil {
		return err
	}
	defer p.Close()
	r.slots = p.Slots
	o, err := p.Run(ctx)
	if err != nil {
		return err
	}
	if o.Result != event.ResultDone {
		return hint.Wrap(fmt.Errorf("the run ended %s: %s", o.Result, o.Reason), "%s", o.Hint)
	}
	return nil
}

// judge says what the witness has against the run.
func judge(v *witness.Verdict, tr *trial, r *result) error {
	var faults []error
	for _, f := range v.Faults() {
		faults = append(faults, errors.New(f))
	}
	if n := v.Maintained(); n != tr.nodes {
		faults = append(faults, fmt.Errorf("%d of %d nodes were maintained", n, tr.nodes))
	}
	if r.peak > r.slots {
		faults = append(faults, fmt.Errorf("%d nodes were out at once, %d are allowed: %v", r.peak, r.slots, v.Busiest.Nodes))
	}
	for _, z := range v.BusiestZones {
		if tr.perZone > 0 && z.Out > tr.perZone {
			faults = append(faults, fmt.Errorf("%d nodes of zone %q were out at once, %d are allowed: %v", z.Out, z.Zone, tr.perZone, z.Nodes))
		}
	}
	return errors.Join(faults...)
}

// marks says what refit has left on nodes.
func (s *site) marks(ctx context.Context) error {
	list, err := s.admin.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the nodes: %w", err)
	}
	const prefix = "refit.dev/"
	var faults []error
	for _, n := range list.Items {
		for key := range n.Annotations {
			if strings.HasPrefix(key, prefix) {
				faults = append(faults, fmt.Errorf("node %s still has the annotation %s", n.Name, key))
			}
		}
		for _, taint := range n.Spec.Taints {
			if strings.HasPrefix(taint.Key, prefix) { // what Kubernetes itself puts there it takes away in its own time
				faults = append(faults, fmt.Errorf("node %s still has the taint %s", n.Name, taint.ToString()))
			}
		}
	}
	return errors.Join(faults...)
}

// pods says which pods of a trial are not Ready although all is over.
func (s *site) pods(ctx context.Context, tr *trial) error {
	list, err := s.admin.CoreV1().Pods(tr.namespace()).List(context.WithoutCancel(ctx), metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the pods: %w", err)
	}
	var faults []error
	for i := range list.Items {
		p := &list.Items[i]
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if !ready && p.DeletionTimestamp == nil {
			faults = append(faults, fmt.Errorf("pod %s on node %q is %s and not Ready: %v", p.Name, p.Spec.NodeName, p.Status.Phase, p.Status.Conditions))
		}
	}
	return errors.Join(faults...)
}
