// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"refit.dev/refit/report"
	"refit.dev/refit/run"
)

// askAboutDebts says which machines a run leaves over that is given up, and asks whether those that
// carry nothing are to be removed. settle are those, if the answer is yes.
func (a *app) askAboutDebts(ctx context.Context, operator *run.Operator, id string, keep bool) (settle []run.Debt, err error) {
	if keep {
		return nil, nil
	}
	debts, err := operator.Debts(ctx, id)
	if err != nil {
		return nil, err
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
		settle = append(settle, *d)
		a.say("is removed: " + report.Printable(what+": it carries nothing"))
	}
	if len(settle) == 0 {
		return nil, nil
	}
	return settle, a.confirm(ctx)
}
