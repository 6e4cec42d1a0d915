// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"fmt"
	"strings"
)

// maxLine is how many bytes of a line are passed on. Output goes to terminals,
// logs and JSON lines; a command that writes a megabyte without a line end
// must not become a megabyte in each of them.
const maxLine = 4096

// lineWriter cuts what is written to it into lines and hands each to out,
// without the line end. It is not safe for concurrent use: os/exec gives a
// command whose stdout and stderr are the same writer one pipe and one reader.
type lineWriter struct {
	out  Output
	line bytes.Buffer
	cut  int // bytes of the current line that were too many
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			w.add(p)
			return n, nil
		}
		w.add(p[:end])
		w.flush()
		p = p[end+1:]
	}
}

func (w *lineWriter) add(p []byte) {
	room := maxLine - w.line.Len()
	if len(p) > room {
		w.cut += len(p) - room
		p = p[:room]
	}
	w.line.Write(p)
}

// flush hands out the line collected so far.
func (w *lineWriter) flush() {
	line := strings.ToValidUTF8(strings.TrimSuffix(w.line.String(), "\r"), "\uFFFD")
	if w.cut > 0 {
		line += fmt.Sprintf("... (%d bytes left out)", w.cut)
	}
	w.line.Reset()
	w.cut = 0
	if w.out != nil {
		w.out(line)
	}
}

// Close hands out a last line that had no line end.
func (w *lineWriter) Close() {
	if w.line.Len() > 0 {
		w.flush()
	}
}
