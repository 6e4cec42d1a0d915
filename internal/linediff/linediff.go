// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package linediff tells in which lines two texts differ.
package linediff

import (
	"slices"
	"strings"
)

// context is how many lines that both texts have are shown around those that differ.
const context = 2

// Of returns the lines that lead from before to after: "-" stands in front of those
// that go, "+" in front of those that come, and a space in front of the two lines around
// them. "..." stands for what is left out in between. Texts that are the same have no lines.
func Of(before, after string) []string {
	a, b := split(before), split(after)
	var all []string
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		all, a, b = append(all, " "+a[0]), a[1:], b[1:]
	}
	var end []string // backwards
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		end, a, b = append(end, " "+a[len(a)-1]), a[:len(a)-1], b[:len(b)-1]
	}
	if len(a)+len(b) == 0 {
		return nil
	}
	all = append(all, between(a, b)...)
	for _, line := range slices.Backward(end) {
		all = append(all, line)
	}
	return shorten(all)
}

func split(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	return all
}

// between keeps as many lines as two texts have in common, in their order (the longest
// common subsequence). It takes time and room for every pair of lines.
func between(a, b []string) []string {
	common := make([][]int, len(a)+1) // of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := range slices.Backward(a) {
		for j := range slices.Backward(b) {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var all []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, " "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			all = append(all, "-"+a[i])
			i++
		default:
			all = append(all, "+"+b[j])
			j++
		}
	}
	return all
}

// shorten leaves out what is far from any line that differs.
func shorten(all []string) []string {
	near := make([]bool, len(all))
	for i, line := range all {
		if line[0] == ' ' {
			continue
		}
		for k := max(0, i-context); k < min(len(all), i+context+1); k++ {
			near[k] = true
		}
	}
	var short []string
	for i, line := range all {
		switch {
		case near[i]:
			short = append(short, line)
		case len(short) > 0 && short[len(short)-1] != "...":
			short = append(short, "...")
		}
	}
	if short[len(short)-1] == "..." {
		short = short[:len(short)-1]
	}
	return short
}
