// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity orders Findings: a Blocker makes maintenance impossible or unsafe, a
// Warning may cost somebody something, Info is good to know.
type Severity int

const (
	Blocker Severity = iota
	Warning
	Info
)

var severityNames = [...]string{Blocker: "blocker", Warning: "warning", Info: "info"}

// String returns the name that stands in every output.
func (s Severity) String() string {
	if s < 0 || int(s) >= len(severityNames) {
		return fmt.Sprintf("severity(%d)", int(s))
	}
	return severityNames[s]
}

// MarshalText makes JSON and YAML carry the name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the names that MarshalText gives.
func (s *Severity) UnmarshalText(text []byte) error {
	for i, name := range severityNames {
		if name == string(text) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("severity %q: want one of %s", text, strings.Join(severityNames[:], ", "))
}

// Code is a kind of Finding: what it is called, how bad it is, what it means in
// general and what can be done about it.
type Code struct {
	Name     string
	Severity Severity
	Meaning  string
	Do       string
}

// Object names what a Finding is about. Namespace is empty for cluster-scoped kinds.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String returns Kind namespace/name.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Finding is one thing worth telling about a cluster. Code is stable: scripts
// match on it. Message says what is the case, Hint what to do about it.
type Finding struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"`
	Object   Object   `json:"object"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
}

// SortFindings sorts by severity, code, object and message, so that the same
// cluster always gives the same list.
func SortFindings(findings []Finding) {
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Object.Kind, b.Object.Kind),
			cmp.Compare(a.Object.Namespace, b.Object.Namespace),
			cmp.Compare(a.Object.Name, b.Object.Name),
			cmp.Compare(a.Message, b.Message),
		)
	})
}

// Worst returns the highest severity among findings, and false if there are none.
func Worst(findings []Finding) (Severity, bool) {
	if len(findings) == 0 {
		return Info, false
	}
	return slices.MinFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Severity, b.Severity) }).Severity, true
}
