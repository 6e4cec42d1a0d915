// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"strconv"
	"strings"
)

// Share is a number of nodes, or a percentage of those in the cluster. The
// text form is "3" or "10%".
type Share struct {
	number  int
	percent bool
}

// ParseShare reads "3" (1 or more) or "10%" (1% to 100%).
func ParseShare(text string) (Share, error) {
	digits, percent := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(digits)
	switch {
	case err != nil || strings.HasPrefix(digits, "+"):
		return Share{}, fmt.Errorf("%q: want a number of nodes, such as 3, or a whole percentage, such as 10%%", text)
	case n < 1:
		return Share{}, fmt.Errorf("%q: with no node unavailable nothing can be maintained; want 1 or 1%% at least", text)
	case percent && n > 100:
		return Share{}, fmt.Errorf("%q: want 100%% at most", text)
	}
	return Share{number: n, percent: percent}, nil
}

// Of returns how many of total nodes the share is: percentages are rounded
// down, for the sake of the cluster, but never to less than one.
func (s Share) Of(total int) int {
	if !s.percent {
		return s.number
	}
	return max(1, total*s.number/100)
}

// String returns the text form.
func (s Share) String() string {
	if s.percent {
		return strconv.Itoa(s.number) + "%"
	}
	return strconv.Itoa(s.number)
}

// MarshalText returns the text form.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes what ParseShare takes.
func (s *Share) UnmarshalText(text []byte) (err error) {
	*s, err = ParseShare(string(text))
	return err
}

// ShareOf is a number of nodes, 1 or more.
func ShareOf(nodes int) Share { return Share{number: max(1, nodes)} }
