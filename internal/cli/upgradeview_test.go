// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/report"
	"refit.dev/refit/upgrade"
)

// TestUpgradeView draws the plans of testdata/upgradeview, which are written as
// `refit upgrade plan -o yaml` writes them; workers=N adds workers to the last hop.
func TestUpgradeView(t *testing.T) {
	datadriven.Walk(t, "testdata/upgradeview", func(t *testing.T, path string) {
		var common upgrade.Plan
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "plan" || d.Cmd == "status" {
				common = upgrade.Plan{}
			}
			var b strings.Builder
			switch d.Cmd {
			case "plan":
				if err := yaml.UnmarshalStrict([]byte(d.Input), &common); err != nil {
					d.Fatalf(t, "%v", err)
				}
				return "ok\n"
			case "status", "wide-status":
				var p upgrade.Progress
				if err := yaml.UnmarshalStrict([]byte(d.Input), &p); err != nil {
					d.Fatalf(t, "%v", err)
				}
				if err := writeUpgradeStatus(&b, &p, d.Cmd == "wide-status"); err != nil {
					d.Fatalf(t, "%v", err)
				}
				return trimLines(b.String())
			}
			p, more := common, 0
			d.MaybeScanArgs(t, "workers", &more)
			if more > 0 {
				p.Hops = append([]upgrade.Hop{}, p.Hops...)
				h := &p.Hops[len(p.Hops)-1]
				for i := range more {
					x := h.Workers[0]
					x.Node = fmt.Sprintf("more-%03d", i)
					h.Workers = append(slices.Clip(h.Workers), x)
				}
			}
			canvas := report.Canvas{Columns: 79}
			d.MaybeScanArgs(t, "columns", &canvas.Columns)
			return trimLines(upgradeView{Canvas: canvas, wide: d.Cmd == "wide"}.text(&p))
		})
	})
}

// trimLines takes off what editors do not keep, and empty lines, at which a transcript ends.
func trimLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \n"); line == "" {
			line = "."
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
