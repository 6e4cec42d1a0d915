// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package retention

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Set is what has to be known of a set.
type Set struct {
	Name    string
	Created time.Time
	// Base is the name of the full that a delta needs, "" for a full.
	Base   string
	Proven bool
	// Broken: something is known to be wrong with it, if only its date. It takes no place of one that is whole.
	Broken bool
}

// Policy says how many are kept; 0 is no rule.
type Policy struct{ Last, Hourly, Daily, Weekly, Monthly int }

// Check says what is wrong with a policy: one that keeps nothing is a mistake.
func (p Policy) Check() error {
	if min(p.Last, p.Hourly, p.Daily, p.Weekly, p.Monthly) < 0 {
		return errors.New("fewer than 0 cannot be kept")
	}
	if p == (Policy{}) {
		return errors.New("nothing says what to keep")
	}
	return nil
}

// Decision is what becomes of a set.
type Decision struct {
	Set
	// Reasons say why it is kept: last, hourly, daily, weekly, monthly, proven, or "base of"
	// a set that is kept. A set without is to be removed.
	Reasons []string
}

// Keep tells whether the set is kept.
func (d Decision) Keep() bool { return len(d.Reasons) > 0 }

// Decide says of each set whether and why it is kept, the newest first.
func Decide(sets []Set, p Policy) []Decision {
	var all []Decision
	for _, s := range sets {
		all = append(all, Decision{Set: s})
	}
	slices.SortFunc(all, func(a, b Decision) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(b.Name, a.Name)
	})
	for _, rule := range p.rules() {
		for _, broken := range []bool{false, true} {
			seen := ""
			left := rule.keep
			for i := range all {
				period := rule.period(all[i].Set)
				if all[i].Broken != broken || left == 0 || period == seen {
					continue
				}
				seen = period
				left--
				all[i].Reasons = append(all[i].Reasons, rule.name)
			}
		}
	}
	for _, broken := range []bool{false, true} {
		if i := slices.IndexFunc(all, func(d Decision) bool { return d.Proven && d.Broken == broken }); i >= 0 {
			all[i].Reasons = append(all[i].Reasons, "proven")
		}
	}
	for _, d := range slices.Clone(all) {
		if d.Base == "" || !d.Keep() {
			continue
		}
		if i := slices.IndexFunc(all, func(b Decision) bool { return b.Name == d.Base }); i >= 0 {
			all[i].Reasons = append(all[i].Reasons, "base of "+d.Name)
		}
	}
	return all
}

// rule keeps the newest set of each of so many periods.
type rule struct {
	name   string
	keep   int
	period func(Set) string
}

func (p Policy) rules() []rule {
	by := func(layout string) func(Set) string {
		return func(s Set) string { return s.Created.UTC().Format(layout) }
	}
	return []rule{
		{"last", p.Last, func(s Set) string { return s.Name }},
		{"hourly", p.Hourly, by("2006-01-02T15")},
		{"daily", p.Daily, by("2006-01-02")},
		{"weekly", p.Weekly, func(s Set) string {
			year, week := s.Created.UTC().ISOWeek()
			return fmt.Sprintf("%d-W%02d", year, week)
		}},
		{"monthly", p.Monthly, by("2006-01")},
	}
}
