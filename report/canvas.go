// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// What a canvas is if nobody knows better: the size that terminals have had since
// the VT100.
const (
	usualColumns = 80
	usualLines   = 24
	leastColumns = 40 // on less, lines may wrap
)

// Canvas is what a text is laid out for.
type Canvas struct {
	// Columns is how many cells a line may take, Lines how many lines can be seen
	// at once; 0: any number, because it is not a terminal.
	Columns, Lines int
	// ASCII says that nothing but ASCII is understood, Color that colours are.
	ASCII, Color bool
}

// CanvasOf returns what w is good for; color and getenv are those of Detect. The
// last column of a terminal stays free: a line that fills it would wrap on some.
// What is no terminal is 80 columns wide.
//
// Anything but ASCII is drawn if the locale says UTF-8: the first of LC_ALL,
// LC_CTYPE and LANG that is set (POSIX, Environment Variables, 8.2).
func CanvasOf(w io.Writer, color string, getenv func(string) string) (Canvas, error) {
	file, _ := w.(*os.File)
	terminal := file != nil && term.IsTerminal(int(file.Fd()))
	_, colors, err := decide(terminal, color, getenv)
	locale := strings.ToLower(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	c := Canvas{
		Columns: usualColumns - 1, Color: colors,
		ASCII: getenv("TERM") == "dumb" || !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8"),
	}
	if err != nil || !terminal {
		return c, err
	}
	columns, lines, err := term.GetSize(int(file.Fd()))
	if err != nil || columns <= 0 || lines <= 0 {
		columns, lines = usualColumns, usualLines
	}
	c.Columns, c.Lines = max(columns, leastColumns)-1, lines
	return c, nil
}

// Cut escapes s, puts it on one line and shortens it to n cells.
func (c Canvas) Cut(s string, n int) string { return c.plain(cut(printableLine(s), n)) }

// CutMiddle is Cut for names: both their ends are kept.
func (c Canvas) CutMiddle(s string, n int) string { return c.plain(cutMiddle(printableLine(s), n)) }

// plain draws the ellipsis in ASCII, if it has to be.
func (c Canvas) plain(s string) string {
	if c.ASCII {
		return strings.ReplaceAll(s, "…", "~")
	}
	return s
}

// Fold escapes s and breaks it between words into lines that fit the canvas; the
// second line and all after it begin with indent. What is longer than a line is
// broken anywhere: nothing is left out.
func (c Canvas) Fold(s, indent string) string {
	s = printableLine(s)
	text := strings.TrimLeft(s, " ")
	var b strings.Builder
	line := s[:len(s)-len(text)]
	for i, word := range strings.Split(text, " ") {
		switch {
		case i == 0:
			word = line + word
		case cells(line)+1+cells(word) <= c.Columns:
			line += " " + word
			continue
		default:
			b.WriteString(line + "\n")
			word = indent + word
		}
		// Not even a whole line is enough for it.
		for cells(word) > c.Columns {
			first := head(word, c.Columns)
			b.WriteString(first + "\n")
			word = indent + word[len(first):]
		}
		line = word
	}
	b.WriteString(line + "\n")
	return b.String()
}

// Brief writes a duration in a few cells: 7s, 1m04s, 2h03m, 3d04h.
func Brief(d time.Duration) string { return brief(d) }
