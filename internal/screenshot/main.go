// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Command screenshot makes a picture of a terminal's screen: it reads what
// `tmux capture-pane -e -p` prints and writes SVG. docs/images/record uses it.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

func main() {
	title := flag.String("title", "", "what stands in the window's bar")
	flag.Parse()
	if err := convert(os.Stdin, os.Stdout, *title); err != nil {
		fmt.Fprintln(os.Stderr, "screenshot:", err)
		os.Exit(1)
	}
}

// Measures in pixels: a cell of the screen, the margin around it, the bar above it.
const (
	cellWidth, cellHeight = 8.4, 18
	margin, bar           = 14, 30
)

// span is text of one look.
type span struct {
	column int
	text   string
	style  string // attributes of the SVG element
}

func convert(in io.Reader, out io.Writer, title string) error {
	var lines [][]span
	columns := 0
	scanner := bufio.NewScanner(in)
	for scanner.Scan() {
		spans, width := parse(scanner.Text())
		lines, columns = append(lines, spans), max(columns, width)
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read the screen: %w", err)
	}
	for len(lines) > 0 && len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	width, height := float64(columns)*cellWidth+2*margin, len(lines)*cellHeight+bar+2*margin
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" viewBox="0 0 %.0f %d" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(w, "<title>%s</title>\n", escape(title))
	fmt.Fprintf(w, `<rect width="100%%" height="100%%" rx="8" fill="#1b1f27"/>`+"\n")
	for i, color := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(w, `<circle cx="%d" cy="%d" r="5" fill="%s"/>`+"\n", margin+6+i*18, bar/2+4, color)
	}
	fmt.Fprintf(w, `<text x="50%%" y="%d" fill="#8b93a3" text-anchor="middle" font-family="sans-serif" font-size="12">%s</text>`+"\n", bar/2+8, escape(title))
	fmt.Fprintln(w, `<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14" fill="#d7dce5">`)
	for i, spans := range lines {
		for _, s := range words(spans) {
			n := utf8.RuneCountInString(s.text)
			// textLength keeps columns aligned whatever font there is.
			fmt.Fprintf(w, `<text x="%.1f" y="%d" textLength="%.1f"%s>%s</text>`+"\n",
				margin+float64(s.column)*cellWidth, bar+margin+i*cellHeight+cellHeight/2, float64(n)*cellWidth, s.style, escape(s.text))
		}
	}
	fmt.Fprintln(w, "</g>\n</svg>")
	return w.Flush()
}

// words parts spans at their gaps, so that each part stands where it stood on the
// screen: browsers draw several blanks as one, some of them whatever xml:space says.
func words(spans []span) []span {
	var list []span
	for _, s := range spans {
		column := s.column
		for text := range strings.SplitSeq(s.text, "  ") {
			trimmed := strings.Trim(text, " ")
			if trimmed != "" {
				list = append(list, span{column + len(text) - len(strings.TrimLeft(text, " ")), trimmed, s.style})
			}
			column += utf8.RuneCountInString(text) + len("  ")
		}
	}
	return list
}

// parse splits a line at its SGR sequences (ECMA-48, CSI ... m); refit uses but few.
func parse(line string) (spans []span, columns int) {
	style := ""
	for line != "" {
		text, rest, found := strings.Cut(line, "\x1b[")
		if text != "" {
			spans = append(spans, span{columns, text, style})
			columns += utf8.RuneCountInString(text)
		}
		if !found {
			break
		}
		codes, after, _ := strings.Cut(rest, "m")
		for code := range strings.SplitSeq(codes, ";") {
			style = look(style, code)
		}
		line = after
	}
	return spans, columns
}

func look(style, code string) string {
	switch code {
	case "0", "", "39":
		return ""
	case "1":
		return style + ` font-weight="bold"`
	case "31":
		return style + ` fill="#ff7b72"`
	case "32":
		return style + ` fill="#7ee787"`
	case "33":
		return style + ` fill="#e3b341"`
	}
	return style
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
