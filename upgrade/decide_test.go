// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
)

func quantity(text string) *resource.Quantity { q := resource.MustParse(text); return &q }

// TestDecide runs the transcripts of testdata/decide. `objects` puts manifests in place for
// all that follow in the file; `plan to=VERSION` plans for the cluster of its input (see
// parseTown) and shows the plan: workers=each, unsupported, removed-apis, force, emptydir and
// no-backup,
// unavailable=N, source=PLACE, strategy=, surge=N and ignore=(CHECK,...) are the intent; show=(hops,backup,binaries,components,findings) is what is shown,
// only=(CODE,...) which findings; server= is what the API server says of itself. `compare` sums the strategies up
// for the same input.
func TestDecide(t *testing.T) {
	shown := map[string]bool{}
	datadriven.Walk(t, "testdata/decide", func(t *testing.T, path string) {
		var common []runtime.Object
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "objects" {
				objs, err := cluster.DecodeManifests(strings.NewReader(d.Input))
				if err != nil {
					return "error: " + err.Error()
				}
				common = objs
				return fmt.Sprintf("%d objects", len(objs))
			}
			s, in := scene(t, d, common)
			if d.Cmd == "compare" {
				return drawForecasts(upgrade.Compare(s, in))
			}
			before := fmt.Sprintf("%+v", s.Hosts)
			p := upgrade.Decide(s, in)
			for _, f := range p.Findings {
				shown[f.Code] = true
			}
			if again := upgrade.Decide(s, in); drawPlan(d, again) != drawPlan(d, p) || before != fmt.Sprintf("%+v", s.Hosts) {
				t.Error("the same input gave another plan")
			}
			return drawPlan(d, p)
		})
	})
	for _, c := range upgrade.Codes() {
		if !shown[c.Name] {
			t.Errorf("no transcript shows %s", c.Name)
		}
	}
}

func scene(t *testing.T, d *datadriven.TestData, common []runtime.Object) (*upgrade.State, upgrade.Intent) {
	t.Helper()
	town, err := parseTown(d.Input)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	s, err := town.make(common...)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	d.MaybeScanArgs(t, "server", &s.Snapshot.Server)
	in := upgrade.Intent{Workers: skew.FewestHops, MaxUnavailable: 1, AllowUnsupported: d.HasArg("unsupported"), AllowRemovedAPIs: d.HasArg("removed-apis"),
		Force: d.HasArg("force"), DeleteEmptyDirData: d.HasArg("emptydir")}
	in.IgnorePreflight, in.NoBackup = listArg(d, "ignore"), d.HasArg("no-backup")
	d.MaybeScanArgs(t, "source", &in.Source)
	d.MaybeScanArgs(t, "method", (*string)(&s.Method))
	var to, workers string
	d.ScanArgs(t, "to", &to)
	if d.MaybeScanArgs(t, "workers", &workers); workers != "" {
		in.Workers = skew.WorkerHops(workers)
	}
	d.MaybeScanArgs(t, "unavailable", &in.MaxUnavailable)
	strategy := ""
	d.MaybeScanArgs(t, "strategy", &strategy)
	d.MaybeScanArgs(t, "surge", &in.Surge)
	in.Strategy = upgrade.Strategy(strategy)
	if in.Version, err = skew.Parse(to); err != nil {
		d.Fatalf(t, "%v", err)
	}
	return s, in
}

func listArg(d *datadriven.TestData, key string) []string {
	for _, arg := range d.CmdArgs {
		if arg.Key == key {
			return arg.Vals
		}
	}
	return nil
}

func drawPlan(d *datadriven.TestData, p *upgrade.Plan) string {
	show, only := listArg(d, "show"), listArg(d, "only")
	if show == nil {
		show = []string{"hops", "findings"}
	}
	var b strings.Builder
	if slices.Contains(show, "hops") {
		from, _ := p.From.MarshalText()
		fmt.Fprintf(&b, "%s to %s", from, p.To)
		if p.Strategy != "" {
			fmt.Fprintf(&b, ", %s", p.Strategy)
		}
		if p.Surge > 0 {
			fmt.Fprintf(&b, " with %d more", p.Surge)
		}
		b.WriteString("\n")
		for _, h := range p.Hops {
			fmt.Fprintf(&b, "hop %s, %.0fs\n", h.To, h.Seconds)
			for _, v := range slices.Concat(h.ControlPlane, h.Workers) {
				drawVisit(&b, v)
			}
		}
	}
	if slices.Contains(show, "backup") && p.Backup {
		b.WriteString("a backup is taken first\n")
	}
	if slices.Contains(show, "binaries") {
		for _, path := range slices.Sorted(maps.Keys(p.Binaries)) {
			fmt.Fprintf(&b, "%s %s\n", path, p.Binaries[path])
		}
	}
	if slices.Contains(show, "components") {
		for _, c := range p.Components {
			fmt.Fprintf(&b, "%-23s %-5s %s -> %s\n", c.Name, c.Node, c.Current, strings.Join(c.After, " -> "))
		}
	}
	for _, f := range p.Findings {
		if slices.Contains(show, "findings") && (only == nil || slices.Contains(only, f.Code)) {
			fmt.Fprintf(&b, "%s %s %s: %s\n", f.Severity, f.Code, f.Object, f.Message)
		}
	}
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

func drawForecasts(all []upgrade.Forecast) string {
	var b strings.Builder
	for i := range all {
		f := &all[i]
		fmt.Fprintf(&b, "%s: %.0fs, workers %.0fs; evicted %d, exposed %d, out %d, more machines %d\n", f.Strategy, f.Seconds, f.WorkerSeconds, f.Evicted, f.Exposed, f.Out, f.Machines)
		for _, x := range f.Blockers {
			fmt.Fprintf(&b, "  %s %s\n", x.Code, x.Object)
		}
		for _, risk := range f.Risks {
			fmt.Fprintf(&b, "  %s\n", risk)
		}
	}
	return b.String()
}

func drawVisit(b *strings.Builder, v upgrade.NodeSteps) {
	fmt.Fprintf(b, "  %-4s %-21s %4.0fs", v.Node, v.Role, v.Start)
	for _, s := range v.Steps {
		fmt.Fprintf(b, " %s", s.Name)
	}
	if v.StaysCordoned {
		b.WriteString(", stays cordoned")
	}
	if v.Pods > 0 {
		fmt.Fprintf(b, ", %d pods leave", v.Pods)
	}
	if v.Components != nil {
		fmt.Fprintf(b, "; raises %s", strings.Join(v.Components, ", "))
	}
	for _, p := range v.Packages {
		if p.To != "" {
			fmt.Fprintf(b, "; %s %s -> %s", p.Name, p.From, p.To)
		}
	}
	b.WriteString("\n")
}
