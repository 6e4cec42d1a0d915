// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
)

// allStrategies is what --strategy says to have them compared.
const allStrategies = "all"

// upgradeCompare shows the strategies side by side.
func (a *app) upgradeCompare(ctx context.Context, f upgradeFlags, access *inventory.Access) error {
	in := f.intent
	in.Strategy = upgrade.Rolling
	state, err := a.observeUpgrade(ctx, in, access)
	if err != nil {
		return err
	}
	f.intent.MaxUnavailable, f.intent.Surge = f.share.Of(len(state.Snapshot.Nodes)), f.surge
	all := upgrade.Compare(state, f.intent)
	if a.output == "json" || a.output == "yaml" {
		err = report.WriteData(a.Out, a.output, struct {
			To         skew.Version       `json:"to"`
			Strategies []upgrade.Forecast `json:"strategies"`
		}{upgrade.Decide(state, f.intent).To, all})
	} else {
		err = a.writeForecasts(all, f.to)
	}
	if err != nil {
		return err
	}
	for i := range all {
		if len(all[i].Blockers) == 0 {
			return nil
		}
	}
	return exitWith(exitBlocked, nil)
}

// writeForecasts is for a person, who wants to go to a version. What is blocked has no figures: there would be nothing but zeros.
func (a *app) writeForecasts(all []upgrade.Forecast, to string) error {
	canvas, err := report.CanvasOf(a.Out, a.color, os.Getenv)
	if err != nil {
		return usageError(err)
	}
	err = writeTable(a.Out, func(row func(cells ...any)) {
		row("STRATEGY", "TIME", "WORKERS TAKE", "PODS EVICTED", "PODS EXPOSED", "WORKERS OUT", "MORE MACHINES", "BLOCKERS")
		for i := range all {
			x := &all[i]
			if n := len(x.Blockers); n > 0 {
				row(x.Strategy, "-", "-", "-", "-", "-", "-", n)
				continue
			}
			row(x.Strategy, rounded(x.Seconds), rounded(x.WorkerSeconds), x.Evicted, x.Exposed, x.Out, x.Machines, len(x.Blockers))
		}
	})
	if err != nil {
		return err
	}
	var b strings.Builder
	for i := range all {
		x := &all[i]
		fmt.Fprintf(&b, "\n%s\n", x.Strategy)
		if n := len(x.Blockers); n > 0 {
			fmt.Fprintf(&b, "  %s in the way: refit upgrade plan --to %s --strategy %s\n", phrase.Count(n, "blocker"), shellWord(to), x.Strategy)
			continue
		}
		for _, risk := range x.Risks {
			b.WriteString(canvas.Fold("  "+risk, "    "))
		}
	}
	_, err = a.Out.Write([]byte(b.String()))
	return err
}
