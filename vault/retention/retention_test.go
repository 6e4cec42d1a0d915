// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package retention

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestDecide reads sets, a line each, "NAME TIME [base=NAME] [proven] [broken]", and draws what becomes of them.
func TestDecide(t *testing.T) {
	datadriven.RunTest(t, "testdata/decide", func(t *testing.T, d *datadriven.TestData) string {
		var p Policy
		for name, into := range map[string]*int{"last": &p.Last, "hourly": &p.Hourly, "daily": &p.Daily, "weekly": &p.Weekly, "monthly": &p.Monthly} {
			if arg, ok := d.Arg(name); ok {
				n, err := strconv.Atoi(arg.Vals[0])
				if err != nil {
					t.Fatal(err)
				}
				*into = n
			}
		}
		if err := p.Check(); err != nil {
			return err.Error() + "\n"
		}
		var sets []Set
		for line := range strings.Lines(d.Input) {
			words := strings.Fields(line)
			created, err := time.Parse("2006-01-02T15:04", words[1])
			if err != nil {
				t.Fatal(err)
			}
			s := Set{Name: words[0], Created: created}
			for _, w := range words[2:] {
				if base, ok := strings.CutPrefix(w, "base="); ok {
					s.Base = base
				}
				s.Proven = s.Proven || w == "proven"
				s.Broken = s.Broken || w == "broken"
			}
			sets = append(sets, s)
		}
		var out strings.Builder
		for _, x := range Decide(sets, p) {
			what := "removed"
			if x.Keep() {
				what = "kept: " + strings.Join(x.Reasons, ", ")
			}
			fmt.Fprintf(&out, "%s  %s\n", x.Name, what)
		}
		return out.String()
	})
}

// TestAnyDecision holds what must never be removed, and that no more is kept than was asked for.
func TestAnyDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sets []Set
		fulls := []string{}
		at := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
		for i := range rapid.IntRange(0, 60).Draw(t, "sets") {
			at = at.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "hours")) * time.Hour)
			s := Set{Name: fmt.Sprintf("s%03d", i), Created: at, Proven: rapid.IntRange(0, 9).Draw(t, "proven") == 0}
			if len(fulls) > 0 && rapid.Bool().Draw(t, "delta") {
				s.Base = rapid.SampledFrom(fulls).Draw(t, "base")
			} else {
				fulls = append(fulls, s.Name)
			}
			sets = append(sets, s)
		}
		n := rapid.IntRange(0, 8)
		p := Policy{n.Draw(t, "last"), n.Draw(t, "hourly"), n.Draw(t, "daily"), n.Draw(t, "weekly"), n.Draw(t, "monthly")}
		kept := map[string]Decision{}
		byRule := 0
		for _, d := range Decide(rapid.Permutation(sets).Draw(t, "order"), p) {
			if !d.Keep() {
				continue
			}
			kept[d.Name] = d
			if slices.ContainsFunc(d.Reasons, func(r string) bool { return r != "proven" && !strings.HasPrefix(r, "base of") }) {
				byRule++
			}
		}
		if most := p.Last + p.Hourly + p.Daily + p.Weekly + p.Monthly; byRule > most {
			t.Fatalf("%d sets are kept by rules that keep %d", byRule, most)
		}
		for i, s := range sets {
			if _, ok := kept[s.Name]; !ok && i >= len(sets)-p.Last {
				t.Fatalf("%s is one of the last %d, and removed", s.Name, p.Last)
			}
			if _, ok := kept[s.Base]; s.Base != "" && kept[s.Name].Keep() && !ok {
				t.Fatalf("%s is kept without its base", s.Name)
			}
		}
		for _, s := range slices.Backward(sets) {
			if !s.Proven {
				continue
			}
			if !kept[s.Name].Keep() {
				t.Fatalf("%s is the last that is proven, and removed", s.Name)
			}
			break
		}
	})
}
