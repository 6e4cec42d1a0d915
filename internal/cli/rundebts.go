// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"refit.dev/refit/report"
	"refit.dev/refit/run"
)

// askAboutDebts says which machines a run leaves over that is given up, and asks whether those that
// carry nothing are to be removed. settle is the answer.
func (a *app) askAboutDebts(ctx context.Context, operator *run.Operator, id string, keep bool) (settle bool, err error) {
	if keep {
		return false, nil
	}
	debts, err := operator.Debts(ctx, id)
	if err != nil {
		return false, err
	}
	for i := range debts {
		d := &debts[i]
		what := d.Machine.String() + ", made in the place of node " + d.Node
		if d.Old {
			what = "old " + d.Machine.String() + ", whose Node is gone"
		}
		if d.Do != "" {
			a.say("is left: " + report.Printable(what+": "+d.Do))
			continue
		}
		settle = true
		a.say("is removed: " + report.Printable(what+": it carries nothing"))
	}
	if !settle {
		return false, nil
	}
	return true, a.confirm(ctx)
}
