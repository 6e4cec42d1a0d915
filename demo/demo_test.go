// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
	"refit.dev/refit/witness"
)

func TestMain(m *testing.M) { os.Exit(etcdtest.Main(m.Run)) }

// sayings collects what a demo says.
type sayings struct {
	mu    sync.Mutex
	lines []string
}

func (s *sayings) say(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func (s *sayings) has(part string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.lines, func(l string) bool { return strings.Contains(l, part) })
}

func options(t *testing.T, s *sayings, sink event.Sink) Options {
	t.Helper()
	twintest.FindBinary(t)
	t.Setenv(statedir.Env, t.TempDir())
	two, err := run.ParseShare("2")
	if err != nil {
		t.Fatal(err)
	}
	return Options{Nodes: MinNodes, MaxUnavailable: two, Report: filepath.Join(t.TempDir(), "report.html"), Sink: sink, Say: s.say, Clock: clock.RealClock{}, UserAgent: "refit-test", Etcd: etcdtest.Worker(t)}
}

// TestDemo shows it twice: the first is kept, the second removes it and is
// interrupted in the middle of maintenance.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	s := &sayings{}
	o := options(t, s, event.Discard)
	o.Keep = true
	out, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if faults := out.Faults(); len(faults) > 0 {
		t.Errorf("faults: %s", strings.Join(faults, "\n"))
	}
	summary := out.Summary()
	if got := strings.Join(summary[len(summary)-2:], "\n"); got != "nodes maintained 6/6\nbroken budgets 0" {
		t.Errorf("the last lines are %q", got)
	}
	if v := out.Verdict; v.Evictions < v.Replicas || v.Busiest.Out != 2 || out.Took <= 0 || out.OneByOne <= 0 {
		// Which of the two times is the longer one is for the machine to say.
		t.Errorf("%d evictions of %d pods, %d nodes out at once, took %s, one by one %s",
			v.Evictions, v.Replicas, v.Busiest.Out, out.Took, out.OneByOne)
	}
	tw, err := twin.Open(Name)
	if err != nil {
		t.Fatalf("the cluster was to be kept: %v", err)
	}
	if r := out.Restored; r == nil || r.Objects < 50 || r.Back != r.Objects || r.Outage <= 0 {
		t.Errorf("restored %+v", out.Restored)
	}
	if n, err := twintest.Client(t, tw).CoreV1().Namespaces().Get(ctx, lost, metav1.GetOptions{}); err != nil || n.DeletionTimestamp != nil {
		t.Errorf("the namespace that was deleted: %v, %v", n, err)
	}
	page, err := os.ReadFile(out.Report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"6 of 6 nodes maintained", "Budgets exceeded", "Moves per pod", "Landed on nodes done"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%q is not in the report", want)
		}
	}

	o.Keep = false
	ctx, interrupt := context.WithCancel(ctx)
	o.Sink = event.SinkFunc(func(e event.Event) {
		if e.Type == event.PodEvicted {
			interrupt()
		}
		if e.Type == event.Summary && e.Hint != "" {
			t.Errorf("advice for a cluster that is going away: %s", e.Hint)
		}
	})
	out, err = Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if out.Run.Result != event.ResultUnfinished || out.Verdict != nil || out.Summary() != nil {
		t.Errorf("an interrupted demo: %+v", out)
	}
	if !s.has("removed the cluster of an earlier demo") {
		t.Errorf("said %q", s.lines)
	}
	if _, err := twin.Open(Name); !errors.Is(err, twin.ErrNotFound) {
		t.Errorf("the cluster was left behind: %v", err)
	}
}

func TestOneDemoAtATime(t *testing.T) {
	o := options(t, &sayings{}, event.Discard)
	unlock, err := lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrRunning) {
		t.Errorf("error %v, want %v", err, ErrRunning)
	}
	unlock()
	if unlock, err = lock(); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// A report that cannot be written is said before there is a cluster.
func TestNowhereToReport(t *testing.T) {
	s := &sayings{}
	o := options(t, s, event.Discard)
	o.Report = filepath.Join(t.TempDir(), "missing", "report.html")
	if _, err := Run(t.Context(), o); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(hint.Of(err), "--report") {
		t.Errorf("%v, hint %q", err, hint.Of(err))
	}
	if len(s.lines) > 0 {
		t.Errorf("something was begun: %q", s.lines)
	}
}

func TestFaults(t *testing.T) {
	node := witness.NodeHistory{Name: "n1", Cordons: 1, Uncordons: 1, Reboots: 1, Ready: true}
	twice := node
	twice.Name, twice.Reboots = "n2", 2
	o := &Outcome{
		Nodes: 2, Run: run.Outcome{Result: event.ResultDone}, Took: 10 * time.Second, OneByOne: 75 * time.Second,
		Verdict: &witness.Verdict{
			Nodes: []witness.NodeHistory{node, twice}, Replicas: 8, Evictions: 10,
			Broken: []witness.Breach{{Budget: "shop/cart"}, {Budget: "shop/cart"}, {Budget: "shop/web"}},
		},
	}
	if len(o.Faults()) != 5 {
		t.Errorf("faults %q", o.Faults())
	}
	text := strings.Join(o.Summary(), "\n")
	for _, want := range []string{
		"moves per pod   1.25 (8 pods had to leave their node)", "time            10.0s", "1m15s, 7.5 times as long",
		"FAULT: node n2 rebooted 2 times", "\nnodes maintained 1/2\nbroken budgets 2",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	o.Run = run.Outcome{Result: event.ResultFailed, Reason: "1 node failed"}
	if o.Faults()[0] != "the run ended failed: 1 node failed" {
		t.Errorf("faults %q", o.Faults())
	}
	o.unreported = errors.New("write the report: no space")
	o.Restored, o.unrestored = &Restored{Objects: 3, Back: 2}, errors.New("no disk")
	if len(o.Faults()) != 9 || !strings.Contains(strings.Join(o.Summary(), "\n"), "FAULT: write the report: no space") {
		t.Errorf("faults %q", o.Faults())
	}
}

func TestStopwatch(t *testing.T) {
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	s := &stopwatch{}
	emit := func(seconds int, node string, phase event.Phase) {
		s.Emit(event.Event{Time: start.Add(time.Duration(seconds) * time.Second), Type: event.NodePhase, Node: node, Phase: phase})
	}
	emit(0, "a", event.PhasePending)
	emit(1, "a", event.PhaseCordoning)
	emit(2, "b", event.PhaseCordoning)
	emit(9, "a", event.PhaseDone)
	emit(12, "b", event.PhaseDone)
	emit(13, "c", event.PhaseCordoning)
	emit(14, "c", event.PhaseFailed)
	if got := s.sum(); got != 18*time.Second {
		t.Errorf("sum %s, want 18s", got)
	}
}
