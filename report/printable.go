// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"unicode"
)

// Printable escapes what could move the cursor or change colours: names and
// messages come from a cluster, and a cluster is not always a friend.
func Printable(s string) string {
	if !strings.ContainsFunc(s, hostile) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hostile(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hostile(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }
