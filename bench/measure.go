// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// sample is one program doing one piece of work.
type sample struct {
	wall     time.Duration
	memory   int64 // bytes, the largest resident set of any process of the work
	requests int   // API requests, by the audit log
	// moves per pod and evictions that broke a budget, if a witness watched.
	moves  float64
	broken int
}

// command runs argv to its end and measures it. What it wrote is part of the error if it fails.
func command(ctx context.Context, argv []string, env []string) (sample, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(cmd.Environ(), env...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	err := cmd.Run()
	s := sample{wall: time.Since(start)}
	if err != nil {
		tail := output.Bytes()
		if len(tail) > 4096 {
			tail = tail[len(tail)-4096:]
		}
		return s, fmt.Errorf("%v: %w\n%s", argv, err, tail)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.memory = usage.Maxrss * 1024 // Linux counts kibibytes: getrusage(2)
	}
	return s, nil
}

// add joins the work of two commands that ran one after the other; what a witness saw it leaves out.
func (s sample) add(t sample) sample {
	return sample{wall: s.wall + t.wall, memory: max(s.memory, t.memory), requests: s.requests + t.requests}
}

// spread is the median of values with their lowest and highest.
type spread struct{ low, median, high float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return spread{low: sorted[0], median: (sorted[(n-1)/2] + sorted[n/2]) / 2, high: sorted[n-1]}
}

// pair is one round: the same work done by both programs.
type pair struct{ refit, kubectl sample }

// spreadOver collects f over all rounds.
func spreadOver(pairs []pair, f func(pair) float64) spread {
	values := make([]float64, len(pairs))
	for i, p := range pairs {
		values[i] = f(p)
	}
	return spreadOf(values)
}
