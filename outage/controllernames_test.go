// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"strings"
	"testing"

	"refit.dev/refit/outage"
)

// TestControllerNames: what kube-controller-manager would not start with is refused, and changes
// nothing.
func TestControllerNames(t *testing.T) {
	s := build(t, "node a")
	for value, want := range map[string]string{
		"*":                    "",
		"*,-podgc,-cronjob":    "",
		"-*,replicaset":        `"-*" is not`,
		"":                     "it names no controller",
		"none":                 `"none" is not in the list of known controllers`,
		"*,-taint-eviction":    "did you mean taint-eviction-controller?",
		"*, -podgc":            `" -podgc" is not in the list of known controllers: did you mean podgc?`,
		"*,":                   `"" is not`,
		"*,--podgc":            `"--podgc" is not`,
		"*,-Job-Controller":    `"-Job-Controller" is not`,
		"*,-service,-svm":      "",
		"job-controller,-*,no": `"-*" is not`,
	} {
		p, _ := outage.ReadParameters(s)
		before := p.Off.Value.String()
		err := p.Set("controllers", value)
		switch {
		case err == nil && want != "":
			t.Errorf("%q is taken", value)
		case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v", value, err)
		case err != nil && p.Off.Value.String() != before:
			t.Errorf("%q is refused, but leaves %s", value, p.Off.Value)
		}
	}
}
