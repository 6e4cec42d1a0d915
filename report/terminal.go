// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Detect fills in Options for a program that writes to out and errw: live
// progress and colours on a terminal, plain lines elsewhere. color is the value
// of --color: "auto", "always" or "never"; getenv is os.Getenv or like it.
//
// NO_COLOR (https://no-color.org: any value but the empty one), TERM=dumb and
// "never" each turn off both. "always" forces colours, but a table is redrawn on
// terminals only.
func Detect(out, errw io.Writer, color string, getenv func(string) string) (Options, error) {
	o := Options{Out: out, Err: errw, Format: "text"}
	file, _ := errw.(*os.File)
	terminal := file != nil && term.IsTerminal(int(file.Fd()))
	quiet := getenv("NO_COLOR") != "" || getenv("TERM") == "dumb"
	switch color {
	case "never":
	case "auto":
		o.Live, o.Color = terminal && !quiet, terminal && !quiet
	case "always":
		o.Live, o.Color = terminal && getenv("TERM") != "dumb", true
	default:
		return o, fmt.Errorf("--color %q: want auto, always or never", color)
	}
	if o.Live {
		o.Size = func() (columns, lines int) {
			columns, lines, err := term.GetSize(int(file.Fd()))
			if err != nil || columns <= 0 || lines <= 0 {
				return 80, 24 // what a terminal that does not know its size most likely has
			}
			return columns, lines
		}
	}
	return o, nil
}
