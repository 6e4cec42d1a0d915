// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"io"
	"slices"
	"strings"
	"time"
)

// Control sequences of ECMA-48 and DEC that every terminal of today knows. The
// cursor is never hidden and no mode outlives a frame: refit may be killed at
// any instant and leaves a terminal that works.
const (
	noWrap       = "\x1b[?7l" // what is too wide is cut off at the margin
	wrap         = "\x1b[?7h"
	eraseToRight = "\x1b[K"
	eraseBelow   = "\x1b[J"
	cursorUp     = "\x1b[A"
	reset        = "\x1b[0m"
)

var styles = map[style]string{boldStyle: "\x1b[1m", waitStyle: "\x1b[33m", failStyle: "\x1b[31m"}

// live redraws a table in place, at the bottom of a terminal. Other output
// goes above it: clear, write, draw.
type live struct {
	term  io.Writer
	size  func() (columns, lines int)
	color bool
	drawn []row  // the table that is on the screen
	at    [2]int // the size of the terminal when it was drawn
}

// draw replaces the table on the screen by one of p at the time now, unless it
// is there already.
func (l *live) draw(p *progress, now time.Time) error {
	columns, lines := l.size()
	rows := table(p, now, columns, lines)
	if size := [2]int{columns, lines}; size == l.at && slices.Equal(rows, l.drawn) {
		return nil
	}
	var b strings.Builder
	b.WriteString(noWrap)
	l.home(&b, columns, lines)
	for _, r := range rows {
		text := r.text
		if code := styles[r.style]; l.color && code != "" {
			text = code + text + reset
		}
		b.WriteString(text + eraseToRight + "\r\n")
	}
	b.WriteString(eraseBelow + wrap)
	l.drawn, l.at = rows, [2]int{columns, lines}
	_, err := io.WriteString(l.term, b.String())
	return err
}

// clear takes the table off the screen, so that something can be written in its place.
func (l *live) clear() error {
	if len(l.drawn) == 0 {
		return nil
	}
	var b strings.Builder
	columns, lines := l.size()
	l.home(&b, columns, lines)
	b.WriteString(eraseBelow)
	l.drawn = nil
	_, err := io.WriteString(l.term, b.String())
	return err
}

// home moves the cursor to the table's first line. A terminal that became
// narrower since may have broken its lines into several.
func (l *live) home(b *strings.Builder, columns, lines int) {
	up := 0
	for _, r := range l.drawn {
		up += 1 + max(0, cells(r.text)-1)/max(1, columns)
	}
	b.WriteString("\r" + strings.Repeat(cursorUp, min(up, max(0, lines-1))))
}
