// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"fmt"
	"strings"

	"refit.dev/refit/host"
)

// Health asks one component of a host how it is, and tells whether there is such a service.
func Health(ctx context.Context, m host.Machine, component string) (a Answer, there bool, err error) {
	r := &reader{m: m}
	u, there, err := r.unit(ctx, component)
	if err != nil || !there {
		return Answer{}, there, err
	}
	if !u.Service.Runs() {
		return Answer{Asked: true, Problem: fmt.Sprintf("%s is %s (%s)", u.Service.Name, u.Service.Active, u.Service.Sub)}, true, nil
	}
	if err := r.config(ctx, &u); err != nil {
		return Answer{}, true, err
	}
	a, err = r.health(ctx, &u)
	return a, true, err
}

// Verify says what of the components is not as it is to be: the file in its place has the sum
// that is wanted, its process runs it, and is well.
func Verify(s State, want map[string]Binary) (problems []string) {
	for _, component := range All() {
		b, wanted := want[component]
		u, there := s.Get(component)
		switch {
		case !wanted:
		case !there:
			problems = append(problems, "there is no service "+component+".service")
		case u.SHA256 != b.SHA256:
			problems = append(problems, fmt.Sprintf("%s is not the one of %s", u.Program, b.Version))
		case !u.Service.Runs():
			problems = append(problems, fmt.Sprintf("%s is %s (%s)", u.Service.Name, u.Service.Active, u.Service.Sub))
		case !u.Fresh:
			problems = append(problems, fmt.Sprintf("%s runs %s, and %s has %s", u.Service.Name, orNone(u.Running), u.Program, orNone(u.Version)))
		case u.Health.Problem != "":
			problems = append(problems, component+": "+u.Health.Problem)
		}
	}
	return problems
}

// Describe says in a line what a host runs.
func Describe(s State) string {
	var parts []string
	for _, u := range s.Units {
		text := u.Component + " " + orNone(u.Running)
		switch {
		case u.Running == "":
			text = fmt.Sprintf("%s does not run (%s on the disk)", u.Component, orNone(u.Version))
		case !u.Fresh:
			text += fmt.Sprintf(" (%s on the disk)", orNone(u.Version))
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "no services of Kubernetes"
	}
	return strings.Join(parts, ", ")
}

func orNone(version string) string {
	if version == "" {
		return "an unknown version"
	}
	return version
}
