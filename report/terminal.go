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
	var err error
	if o.Live, o.Color, err = decide(terminal, color, getenv); err != nil {
		return o, err
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

func decide(terminal bool, color string, getenv func(string) string) (live, colors bool, err error) {
	dumb := getenv("TERM") == "dumb"
	switch color {
	case "never":
		return false, false, nil
	case "auto":
		live = terminal && !dumb && getenv("NO_COLOR") == ""
		return live, live, nil
	case "always":
		return terminal && !dumb, true, nil
	}
	return false, false, fmt.Errorf("--color %q: want auto, always or never", color)
}
