// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// screen is a terminal of the strict sort: it understands what a report may
// write and takes everything else, and every mishap, for a fault. Like most
// terminals of today it breaks its lines anew when its width changes.
type screen struct {
	columns, lines int
	grid           [][]rune // as many as lines; a wide rune is followed by a 0
	broken         []bool   // line i goes on in line i+1
	row, column    int
	wrap           bool
	scrolled       []string // what left the screen at the top
	faults         []string
}

func newScreen(columns, lines int) *screen {
	s := &screen{columns: columns, lines: lines, wrap: true}
	s.grid, s.broken = make([][]rune, lines), make([]bool, lines)
	return s
}

func (s *screen) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// Write takes whole sequences only, as a report writes them.
func (s *screen) Write(p []byte) (int, error) {
	for rest := string(p); rest != ""; {
		switch {
		case strings.HasPrefix(rest, "\x1b"):
			rest = s.sequence(rest)
		case rest[0] == '\r':
			s.column, rest = 0, rest[1:]
		case rest[0] == '\n':
			// The tty's ONLCR makes a carriage return of it, too.
			s.down()
			s.column, rest = 0, rest[1:]
		default:
			r, n := utf8.DecodeRuneInString(rest)
			s.put(r, n)
			rest = rest[n:]
		}
	}
	return len(p), nil
}

func (s *screen) sequence(rest string) string {
	known := map[string]func(){
		"\x1b[A":   func() { s.row = max(0, s.row-1) },
		"\x1b[K":   func() { s.erase(s.row, s.column) },
		"\x1b[J":   func() { s.eraseBelow() },
		"\x1b[?7l": func() { s.wrap = false },
		"\x1b[?7h": func() { s.wrap = true },
		"\x1b[0m":  func() {}, "\x1b[1m": func() {}, "\x1b[31m": func() {}, "\x1b[33m": func() {},
	}
	for code, do := range known {
		if strings.HasPrefix(rest, code) {
			do()
			return rest[len(code):]
		}
	}
	s.fault("unknown sequence %.10q", rest)
	return rest[1:]
}

func (s *screen) put(r rune, size int) {
	if r < 0x20 || (r >= 0x7f && r < 0xa0) || (r == utf8.RuneError && size == 1) {
		s.fault("control character %q", r)
		return
	}
	n := runeCells(r)
	if n == 0 {
		return
	}
	if s.column+n > s.columns {
		if !s.wrap {
			s.fault("%q is beyond the margin", r)
			return
		}
		s.broken[s.row] = true
		s.down()
		s.broken[max(0, s.row-1)] = true
		s.column = 0
	}
	line := s.grid[s.row]
	for len(line) < s.column+n {
		line = append(line, ' ')
	}
	line[s.column] = r
	if n == 2 {
		line[s.column+1] = 0
	}
	s.grid[s.row] = line
	s.column += n
}

func (s *screen) down() {
	if s.row++; s.row < s.lines {
		return
	}
	s.row = s.lines - 1
	s.scrolled = append(s.scrolled, text(s.grid[0]))
	s.grid, s.broken = append(s.grid[1:], nil), append(s.broken[1:], false)
}

func (s *screen) erase(row, column int) {
	if column < len(s.grid[row]) {
		s.grid[row] = s.grid[row][:column]
	}
	s.broken[row] = false
}

func (s *screen) eraseBelow() {
	s.erase(s.row, s.column)
	for row := s.row + 1; row < s.lines; row++ {
		s.erase(row, 0)
	}
}

// resize breaks the lines anew for another width; the cursor stays at its text.
func (s *screen) resize(columns, lines int) {
	var whole [][]rune // lines as they were written
	cursor := 0
	for i, line := range s.grid[:s.row+1] {
		if i > 0 && s.broken[i-1] {
			whole[len(whole)-1] = append(whole[len(whole)-1], line...)
		} else {
			whole = append(whole, append([]rune(nil), line...))
		}
		cursor = len(whole) - 1
	}
	n := newScreen(columns, lines)
	n.scrolled, n.faults = s.scrolled, s.faults
	for i, line := range whole {
		for _, r := range line {
			if r != 0 {
				n.put(r, utf8.RuneLen(r))
			}
		}
		if i < cursor {
			n.down()
			n.column = 0
		}
	}
	n.column = min(s.column, columns-1)
	n.wrap = s.wrap
	*s = *n
}

// text is a line without what is not there.
func text(line []rune) string {
	return strings.TrimRight(strings.ReplaceAll(string(line), "\x00", ""), " ")
}

// String draws the screen in a frame, with what scrolled away above it.
func (s *screen) String() string {
	var b strings.Builder
	for _, line := range s.scrolled {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	edge := "+" + strings.Repeat("-", s.columns) + "+\n"
	b.WriteString(edge)
	for _, line := range s.grid {
		fmt.Fprintf(&b, "|%s|\n", pad(text(line), s.columns))
	}
	b.WriteString(edge)
	for _, f := range s.faults {
		fmt.Fprintf(&b, "fault: %s\n", f)
	}
	return b.String()
}
