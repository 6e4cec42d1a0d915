// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/synthetic"
	"refit.dev/refit/plan"
)

// planned is what planning one synthetic cluster took, in a process of its own.
type planned struct {
	Nodes, Pods, Budgets int
	// Snapshot, World and Make are the parts of the first plan; Decide is the first
	// decision that follows from it.
	Snapshot, World, Make, Decide time.Duration
	// Keep is how long a run takes until it follows the cluster, Redecide are
	// decisions after one event each, by what happens, with so many nodes AtWork.
	Keep     time.Duration
	AtWork   int
	Redecide map[string][]time.Duration
	// CPU is what the first plan took of all processors together.
	CPU time.Duration
	// Memory is the largest resident set during all that, in bytes, Held the one
	// before it, with the cluster in the watches' caches.
	Memory, Held int64
	// Predicted and Bound are what the plan says of itself, in seconds; Moves are per pod.
	Predicted, Bound, Moves float64
}

func (p *planned) first() time.Duration { return p.Snapshot + p.World + p.Make }

// redecided are the times of all events.
func (p *planned) redecided() []time.Duration {
	return slices.Concat(slices.Collect(maps.Values(p.Redecide))...)
}

// planChild is the environment variable that makes this program plan one
// cluster, of so many nodes, and write what that took to standard output.
const planChild = "REFIT_BENCH_PLAN_NODES"

// measurePlan plans a cluster of so many nodes in a child process.
func measurePlan(ctx context.Context, nodes int) (*planned, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	out, err := output(ctx, []string{self}, planChild+"="+strconv.Itoa(nodes))
	if err != nil {
		return nil, fmt.Errorf("plan a cluster of %d nodes: %w", nodes, err)
	}
	p := &planned{}
	if err := json.Unmarshal(out, p); err != nil {
		return nil, fmt.Errorf("plan a cluster of %d nodes: read what it took: %w", nodes, err)
	}
	return p, nil
}

// planHere is the child's work.
func planHere(nodes string, out io.Writer) error {
	n, err := strconv.Atoi(nodes)
	if err != nil {
		return fmt.Errorf("%s=%q: %w", planChild, nodes, err)
	}
	h, err := holdSynthetic(synthetic.Large(n))
	if err != nil {
		return err
	}
	defer h.Stop()
	p := &planned{}
	if p.Held, err = resetPeak(); err != nil {
		return err
	}
	if err := p.plan(h); err != nil {
		return err
	}
	if p.Memory, err = peakOf("self"); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(p)
}

// holdSynthetic makes a cluster and holds it as a watch would: every object
// decoded by itself from what an API server sends, so that it weighs what it does in life.
func holdSynthetic(shape synthetic.Shape) (*cluster.Held, error) {
	objs, err := shape.Objects()
	if err != nil {
		return nil, err
	}
	for i, obj := range objs {
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			continue
		}
		data, err := pod.Marshal()
		if err != nil {
			return nil, fmt.Errorf("encode pod %s: %w", pod.Name, err)
		}
		fresh := &corev1.Pod{}
		if err := fresh.Unmarshal(data); err != nil {
			return nil, fmt.Errorf("decode pod %s: %w", pod.Name, err)
		}
		objs[i] = fresh
	}
	return cluster.Hold(objs)
}

// plan makes a first plan of everything that the caches hold, and decides by it.
func (p *planned) plan(h *cluster.Held) error {
	drain := plan.Drain{Leaves: func(pod *cluster.Pod) bool { return !pod.DaemonSet() && !pod.Mirror() }}
	before, err := cpuTime()
	if err != nil {
		return err
	}
	step := stopwatch()
	s := h.Snapshot()
	p.Snapshot = step()
	w := plan.NewWorld(s, drain)
	p.World = step()
	in := &plan.Intent{MaxUnavailable: len(s.Nodes) / 5, MaxMoves: plan.DefaultMaxMoves, Work: 2 * time.Minute}
	for _, node := range s.Nodes {
		in.Nodes = append(in.Nodes, node.Name)
	}
	made, err := plan.Make(w, in)
	if err != nil {
		return err
	}
	p.Make = step()
	after, err := cpuTime()
	if err != nil {
		return err
	}
	p.CPU = after - before
	order, state := made.Order(w), w.NewState(in)
	verdict := w.Decide(in, order, state)
	p.Decide = step()
	if len(verdict.Start) == 0 {
		return fmt.Errorf("nothing can be started: %+v", verdict.Waits)
	}
	p.Nodes, p.Pods, p.Budgets = len(s.Nodes), len(s.Pods), len(s.Budgets)
	p.Predicted, p.Bound, p.Moves = made.PredictedSeconds, made.LowerBoundSeconds, made.MovesPerPod()
	return p.follow(h, drain, in, made)
}

// stopwatch returns a function that returns the time since it was last called.
func stopwatch() func() time.Duration {
	last := time.Now()
	return func() time.Duration {
		now := time.Now()
		defer func() { last = now }()
		return now.Sub(last)
	}
}

// cpuTime is what this process has used of all processors so far.
func cpuTime() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("read the CPU time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// resetPeak gives back memory that is not in use, has the kernel begin anew with
// the largest resident set, and returns the present one. See proc(5), clear_refs.
func resetPeak() (int64, error) {
	runtime.GC()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600); err != nil {
		return 0, fmt.Errorf("reset the largest resident set: %w", err)
	}
	return peakOf("self")
}
