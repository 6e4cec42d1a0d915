// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"refit.dev/refit/internal/hint"
)

// confirm asks whether to go on with what was shown, unless --yes says so. With
// nobody there to ask it refuses, rather than to wait for ever.
func (a *app) confirm(ctx context.Context) error {
	if a.yes {
		return nil
	}
	if !interactive(a.In) {
		return hint.Wrap(usageError(errors.New("this has to be confirmed, and there is no terminal to ask on; nothing was changed")),
			"say --yes if it is what you want")
	}
	fmt.Fprint(a.ErrOut, "Go ahead? [y/N] ")
	answer := make(chan string, 1)
	go func() { // stays behind if ctx ends first; the program ends then, too
		line, _ := bufio.NewReader(a.In).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return exitWith(exitUnfinished, errors.New("not confirmed; nothing was changed"))
	case <-ctx.Done():
		return exitWith(exitUnfinished, errors.New("interrupted; nothing was changed"))
	}
}

func interactive(in io.Reader) bool {
	file, ok := in.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
