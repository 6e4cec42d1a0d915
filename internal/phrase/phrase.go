// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package phrase puts numbers and names into sentences.
package phrase

import (
	"fmt"
	"strings"
)

// Count says how many there are of a noun whose plural ends in s: 1 pod, 2 pods.
func Count(n int, noun string) string {
	return fmt.Sprintf("%d %s", n, Plural(n, noun, noun+"s"))
}

// Plural chooses the word for n things: one for a single one, many for all
// other numbers, 0 among them.
func Plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Few lists names, of more than most the first ones and how many more there are.
func Few(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
