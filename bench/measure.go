// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sample is one program doing one piece of work.
type sample struct {
	wall     time.Duration
	cpu      time.Duration // of the program and of what it has waited for
	memory   int64         // bytes, the largest resident set of any process of the work
	busy     float64       // share of the machine's processors that worked meanwhile, whoever it was for
	requests int           // API requests, by the audit log
	// moves per pod and evictions that broke a budget, if a witness watched.
	moves  float64
	broken int
}

// command runs argv to its end and measures it. What it wrote is part of the error if it fails.
func command(ctx context.Context, argv []string, env ...string) (sample, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(cmd.Environ(), env...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	before, err := readProcessors()
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return sample{}, fmt.Errorf("%v: %w", argv, err)
	}
	memory := watchPeak(cmd.Process.Pid)
	failed := cmd.Wait()
	s := sample{wall: time.Since(start), memory: memory(), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	after, err := readProcessors()
	if err != nil {
		return s, err
	}
	s.busy = after.since(before)
	if failed != nil {
		tail := output.Bytes()
		if len(tail) > 4096 {
			tail = tail[len(tail)-4096:]
		}
		return s, fmt.Errorf("%v: %w\n%s", argv, failed, tail)
	}
	return s, nil
}

// output runs argv to its end and returns what it wrote to standard output.
func output(ctx context.Context, argv []string, env ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(cmd.Environ(), env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", argv, err, errs.Bytes())
	}
	return out, nil
}

// watchPeak follows the largest resident set of a process, or of one of its family; the
// function that it returns ends that and tells it, in bytes. What the kernel tells of a process that
// has ended (ru_maxrss) is no less than what its parent had when it was started.
func watchPeak(pid int) func() int64 {
	stop, done := make(chan struct{}), make(chan struct{})
	var largest int64
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, member := range family(pid) {
				if now, err := peakOf(member); err == nil {
					largest = max(largest, now)
				}
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-done
		return largest
	}
}

// peakOf is the largest resident set so far of the process, in bytes. See proc(5).
func peakOf(pid string) (int64, error) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, fmt.Errorf("read the largest resident set: %w", err)
	}
	lines := strings.Split(string(status), "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "VmHWM:") })
	if i < 0 {
		return 0, fmt.Errorf("the kernel does not tell the largest resident set")
	}
	kibibytes, err := strconv.ParseInt(strings.Fields(lines[i])[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the largest resident set: %w", err)
	}
	return kibibytes << 10, nil
}

// add joins the work of two commands that ran one after the other; what a witness and the processors saw it leaves out.
func (s sample) add(t sample) sample {
	return sample{wall: s.wall + t.wall, cpu: s.cpu + t.cpu, memory: max(s.memory, t.memory), requests: s.requests + t.requests}
}

// spread is the median of values with their lowest and highest.
type spread struct{ low, median, high float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	return spread{low: sorted[0], median: median(sorted), high: sorted[len(sorted)-1]}
}

func median[T float64 | time.Duration](sorted []T) T {
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// pair is one round: the same work done by both programs.
type pair struct{ refit, kubectl sample }

// spreadOver collects f over all rounds.
func spreadOver[R any](rounds []R, f func(R) float64) spread { return spreadOf(each(rounds, f)) }

func each[R, V any](rounds []R, f func(R) V) []V {
	values := make([]V, len(rounds))
	for i, r := range rounds {
		values[i] = f(r)
	}
	return values
}
