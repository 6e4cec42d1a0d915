// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// placed is how far a Raise has got with the files of its component.
type placed struct {
	// sum is the SHA-256 of what is in the place of the program; "" if nothing is.
	sum string
	// staged tells that the new binary waits beside it.
	staged bool
	// refused tells that the new binary was rolled back in this run, and why that was.
	refused bool
	why     string
}

// place looks at the files.
func (r *Raise) place(ctx context.Context, u Unit) (p placed, err error) {
	text, err := (&reader{m: r.Machine}).text(ctx, "sh", "-c", placeScript, "sh", u.Program, stagedPath(u.Program, r.Binary.Version), refusedPath(u.Program, r.Binary.Version))
	if err != nil {
		return p, fmt.Errorf("look at what is beside %s: %w", u.Program, err)
	}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "staged":
			p.staged = true
		case word == "refused":
			p.refused, p.why = r.refused(rest)
		case len(word) == 64:
			p.sum = word
		}
	}
	return p, nil
}

// refused reads the note that backScript has left. One of another run or of another binary, and
// one that is not whole, says nothing.
func (r *Raise) refused(note string) (refused bool, why string) {
	rest, ours := strings.CutPrefix(note, r.Binary.SHA256+" "+strconv.Quote(r.Run)+" ")
	why, err := strconv.Unquote(rest)
	return ours && err == nil, why
}
