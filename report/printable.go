// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable escapes what could move the cursor, change colours or reorder
// text: names and messages come from a cluster, and a cluster is not always a
// friend. Line feeds and tabs stay. Bytes that are no UTF-8 are escaped too:
// some terminals take a lone 0x9b for the start of a control sequence.
func Printable(s string) string {
	return escape(s, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) })
}

// printableLine is Printable for text that has to stay on one line.
func printableLine(s string) string {
	return escape(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func escape(s string, hostile func(rune) bool) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, hostile) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !hostile(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
