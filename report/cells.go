// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// cells is how many columns of a terminal s takes. s is Printable and of one line.
func cells(s string) int {
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// runeCells follows UAX #11 (East Asian Width): wide and fullwidth runes take
// two cells, marks that combine with the rune before them take none.
func runeCells(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cut shortens s to at most n cells; an ellipsis tells that something is missing.
func cut(s string, n int) string {
	if cells(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	return head(s, n-1) + "…"
}

// cutMiddle shortens a name to at most n cells and keeps both its ends: the
// names of one cluster's nodes often differ in only one of them.
func cutMiddle(s string, n int) string {
	if cells(s) <= n {
		return s
	}
	if n < 5 {
		return cut(s, n)
	}
	front := n / 2
	return head(s, front) + "…" + tail(s, n-1-front)
}

// head is the longest beginning of s that fits n cells.
func head(s string, n int) string {
	for i, r := range s {
		if n -= runeCells(r); n < 0 {
			return s[:i]
		}
	}
	return s
}

// tail is the longest end of s that fits n cells and does not begin with a mark.
func tail(s string, n int) string {
	runes := []rune(s)
	start := len(runes)
	for i, r := range slices.Backward(runes) {
		if n -= runeCells(r); n < 0 {
			break
		}
		if runeCells(r) > 0 {
			start = i
		}
	}
	return string(runes[start:])
}

// pad fills s with spaces up to n cells.
func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-cells(s))) }

// padLeft fills s with spaces before it up to n cells.
func padLeft(s string, n int) string { return strings.Repeat(" ", max(0, n-cells(s))) + s }

// brief writes a duration in a few cells: 7s, 1m04s, 2h03m, 3d04h.
func brief(d time.Duration) string {
	d = max(0, d.Truncate(time.Second))
	day := 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
}
