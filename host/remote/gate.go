// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"io"
	"sync"
)

// gate lets a command's output through to its writers until the command is given up:
// nothing is written to them after that.
type gate struct {
	mu     sync.Mutex
	closed bool
	err    error
}

// copy hands on what comes from src until it ends. What a writer refuses is read
// nonetheless: the command is not held up by it.
func (g *gate) copy(dst io.Writer, src io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := src.Read(buffer)
		if n > 0 {
			g.write(dst, buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

func (g *gate) write(dst io.Writer, p []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.err != nil || dst == nil {
		return
	}
	_, g.err = dst.Write(p)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// failed is the first error of a writer.
func (g *gate) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}
