// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"slices"
	"strings"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
)

// judge rehearses a run. That it would not be safe to begin is no error, but
// stands in Blocked, and among the blockers of the plan.
func (p *Prepared) judge(ctx context.Context, s *cluster.Snapshot, v View) error {
	err := p.rehearse(ctx, s, v)
	if blocked, ok := errors.AsType[*BlockedError](err); !ok || blocked == nil {
		return err
	}
	p.Blocked = err
	if p.Plan == nil {
		if err := p.plan(v); err != nil {
			return err
		}
	}
	p.Slots = p.Plan.Slots
	if known := slices.Concat(p.refused, p.Plan.Blockers); len(known) > 0 {
		p.Plan.Blockers = known
		return nil
	}
	for text := range strings.SplitSeq(err.Error(), "\n") {
		p.Plan.Blockers = append(p.Plan.Blockers, cluster.Finding{
			Severity: cluster.Blocker, Code: CannotBegin,
			Object: cluster.Object{Kind: "Cluster", Name: p.Spec.Cluster.Server}, Message: text, Hint: hint.Of(err),
		})
	}
	return nil
}
