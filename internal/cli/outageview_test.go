// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/outage"
	"refit.dev/refit/report"
)

// TestOutageView draws what testdata/outageview says, as YAML in the form of the
// JSON output: `text`, `wide` and `json` a forecast, `old` one of an old server, `rank` the hurts of nodes.
func TestOutageView(t *testing.T) {
	datadriven.Walk(t, "testdata/outageview", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			v := outageView{
				Canvas: report.Canvas{Columns: 79}, wide: d.Cmd == "wide",
				basis: basis{
					Parameters: []outage.Row{
						{Name: "node-monitor-grace-period", Value: "50s", Source: "default of v1.37", Assumed: true},
						{Name: "node-eviction-rate", Value: "0.1", Source: "given with --node-eviction-rate"},
					},
					Assumptions: []string{"kube-apiserver is not to be seen as a pod, so its flags are assumed to be the defaults"},
				},
			}
			d.MaybeScanArgs(t, "columns", &v.Columns)
			if d.Cmd == "old" {
				v.Parameters = append(v.Parameters, outage.Row{Name: "pod-eviction-timeout", Value: "5m", Source: "given"})
			}
			var b strings.Builder
			var err error
			if d.Cmd == "rank" {
				var hurts []outage.Hurt
				if err = yaml.UnmarshalStrict([]byte(d.Input), &hurts); err == nil {
					err = v.writeRanks(&b, d.Cmd, hurts)
				}
			} else {
				var f outage.Forecast
				if err = yaml.UnmarshalStrict([]byte(d.Input), &f); err == nil {
					err = v.writeForecast(&b, d.Cmd, &f)
				}
			}
			if err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			return b.String()
		})
	})
}
