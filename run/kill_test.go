// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin"
)

// moment says when a process is killed, relative to the writing of a record.
type moment string

const (
	never      moment = ""
	before     moment = "before" // nothing of the record is on disk
	torn       moment = "torn"   // half of it is
	afterwards moment = "after"  // all of it is, and nothing that follows was done
)

// errand is what a process that a test starts is to do.
type errand struct {
	Kubeconfig, State string
	// Resume is the run to resume; Request begins a new one.
	Resume  string
	Unknown UnknownCommand
	Request Request
	// Upgrade, if set, is what a new one is instead.
	Upgrade *UpgradeRequest
	// At the Nth record that the process writes it kills itself.
	N    int
	When moment
}

// answer is what such a process says when it was not killed.
type answer struct {
	Run    string
	Result event.Result
	Reason string
	Err    string
	// Records is how many it has written.
	Records int
}

const errandEnv = "REFIT_TEST_ERRAND"

// TestMain makes the test binary a refit process of its own when a test starts it as one.
func TestMain(m *testing.M) {
	if text := os.Getenv(simulatorEnv); text != "" {
		simulate(text)
		return
	}
	text := os.Getenv(errandEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(e.do()); err != nil {
		panic(err)
	}
}

func (e errand) do() answer {
	o := operatorFor(func(args ...any) { panic(fmt.Sprint(args...)) }, e.Kubeconfig, e.State)
	killer := &killer{errand: e}
	o.Store.wrap = func(f file) file { killer.file = f; return killer }
	outcome, err := e.work(o)
	a := answer{Run: outcome.Run, Result: outcome.Result, Reason: outcome.Reason, Records: killer.records}
	if err != nil {
		a.Err = err.Error() + "; hint: " + hint.Of(err)
	}
	return a
}

func (e errand) work(o *Operator) (Outcome, error) {
	ctx := context.Background()
	if e.Resume != "" {
		return o.Resume(ctx, e.Resume, e.Unknown)
	}
	prepare := func() (*Prepared, error) { return o.Prepare(ctx, e.Request) }
	if e.Upgrade != nil {
		prepare = func() (*Prepared, error) { return o.PrepareUpgrade(ctx, *e.Upgrade) }
	}
	p, err := prepare()
	if err != nil {
		return Outcome{}, err
	}
	defer p.Close()
	return p.Run(ctx)
}

// killer is a journal's file that ends its process as kill -9 does.
type killer struct {
	errand
	file    file
	records int
}

func (k *killer) Write(p []byte) (int, error) {
	k.records++
	if k.records == k.N {
		switch k.When {
		case before:
			die()
		case torn:
			_, _ = k.file.Write(p[:len(p)/2])
			_ = k.file.Sync()
			die()
		}
	}
	return k.file.Write(p)
}

func (k *killer) Sync() error {
	err := k.file.Sync()
	if k.records == k.N && k.When == afterwards {
		die()
	}
	return err
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// run does the errand in a process of its own. killed tells whether that killed itself.
func (e errand) run(t *testing.T) (a answer, killed bool) {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), errandEnv+"="+string(text))
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && ctx.Err() == nil {
		return answer{}, true
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), stderr.String())
	}
	return a, false
}

// TestKilledAtEveryRecord kills a run right before, in the middle of, and right
// after each record that it writes, has another process resume it, and looks at
// the cluster: the same end, every node rebooted once, nothing left behind. How
// many records there are the test learns from a run that is not killed.
func TestKilledAtEveryRecord(t *testing.T) {
	s := newSite(t, twin.Options{Nodes: 3, Scenario: "testdata/small.yaml", Wait: true})
	names := s.names(t)[:2]
	base := errand{Kubeconfig: s.twin.MaintainerKubeconfig()}

	t.Run("reboot", func(t *testing.T) {
		base := base
		base.Request = request(names...)
		base.Request.MaxUnavailable, _ = ParseShare("1") // so that the records come in one order
		base.State = t.TempDir()
		clean, killed := base.run(t)
		if killed || clean.Result != event.ResultDone {
			t.Fatalf("without a kill: %+v", clean)
		}
		t.Logf("a run writes %d records", clean.Records)
		for n := 1; n <= clean.Records; n++ {
			moments := []moment{before, afterwards}
			if n%5 == 0 { // TestJournalTornAtEveryOffset has all of them, in one process
				moments = append(moments, torn)
			}
			for _, when := range moments {
				t.Run(fmt.Sprintf("%02d %s", n, when), func(t *testing.T) { s.killAndResume(t, base, names, n, when) })
			}
		}
	})

	t.Run("command", func(t *testing.T) {
		base := base
		base.Request = request(names[:1]...)
		base.State = t.TempDir()
		base.Request.Reboot, base.Request.Command = false, "true"
		clean, killed := base.run(t)
		if killed || clean.Result != event.ResultDone {
			t.Fatalf("without a kill: %+v", clean)
		}
		t.Logf("a run writes %d records", clean.Records)
		unknown := 0
		for n := 1; n <= clean.Records; n++ {
			for _, when := range []moment{before, afterwards} {
				t.Run(fmt.Sprintf("%02d %s", n, when), func(t *testing.T) { unknown += s.killCommandAndResume(t, base, n, when) })
			}
		}
		// After its intent, and before it is recorded that it is done.
		if unknown != 2 {
			t.Errorf("the outcome of the command was unknown %d times, want 2", unknown)
		}
	})
}

// started returns the run that a killed process left; "" if it got to none.
func started(t *testing.T, store *Store) string {
	t.Helper()
	entries, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch {
		case e.Err != nil && !strings.Contains(e.Err.Error(), "no complete record"):
			t.Fatal(e.Err)
		case e.Err == nil:
			if e.Status.Phase != PhaseKilled && !e.Status.Closed() {
				t.Errorf("the run of a killed process is %s", e.Status.Phase)
			}
			return e.Run
		}
	}
	return ""
}

func (s *site) killAndResume(t *testing.T, e errand, names []string, n int, when moment) {
	e.State, e.N, e.When = t.TempDir(), n, when
	witness := s.watchBoots(t)
	if a, killed := e.run(t); !killed {
		t.Fatalf("it was not killed: %+v", a)
	}
	e.N, e.When = 0, never
	e.Resume = started(t, s.operatorStore(e.State))
	a, killed := e.run(t)
	if killed || a.Err != "" || a.Result != event.ResultDone {
		t.Fatalf("resumed: %+v", a)
	}
	for _, name := range names {
		node := s.node(t, name)
		if got := witness.of(t, node); got != 1 {
			t.Errorf("node %s was rebooted %d times", name, got)
		}
		if got, want := node.Status.NodeInfo.BootID, bootRequest(a.Run, node.UID); got != want {
			t.Errorf("node %s: boot ID %s, want %s", name, got, want)
		}
	}
	s.clean(t)
	s.whole(t)
}

// killCommandAndResume returns 1 if the outcome of the command was not known.
func (s *site) killCommandAndResume(t *testing.T, e errand, n int, when moment) (unknown int) {
	dir := t.TempDir()
	e.State, e.N, e.When = filepath.Join(dir, "state"), n, when
	e.Request.Command = "echo $REFIT_NODE >> " + filepath.Join(dir, "ran")
	times := func() int {
		data, err := os.ReadFile(filepath.Join(dir, "ran"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Count(data, []byte("\n"))
	}
	if a, killed := e.run(t); !killed {
		t.Fatalf("it was not killed: %+v", a)
	}
	e.N, e.When = 0, never
	e.Resume = started(t, s.operatorStore(e.State))
	a, _ := e.run(t)
	if a.Result == event.ResultFailed && strings.Contains(a.Reason, "1 node failed") {
		unknown = 1
		if times() > 1 {
			t.Errorf("the command ran %d times without anybody asking for it", times())
		}
		ran := times()
		e.Resume, e.Unknown = a.Run, UnknownRerun
		a, _ = e.run(t)
		if times() != ran+1 {
			t.Errorf("the command ran %d times, and was asked for once more after %d", times(), ran)
		}
	} else if times() != 1 {
		t.Errorf("the command ran %d times", times())
	}
	if a.Err != "" || a.Result != event.ResultDone {
		t.Fatalf("resumed: %+v", a)
	}
	s.clean(t)
	return unknown
}

func (s *site) operatorStore(dir string) *Store { return NewStore(dir, s.operator.Clock) }

// whole fails if a workload does not have all its pods. It counts them: the status
// of the Deployment follows them with a delay.
func (s *site) whole(t *testing.T) {
	t.Helper()
	list, err := s.admin.CoreV1().Pods("small").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	ready := 0
	for i := range list.Items {
		if budget.Healthy(&list.Items[i]) {
			ready++
		}
	}
	if ready != 3 {
		t.Errorf("deployment web: %d of 3 pods are ready", ready)
	}
}

// cutJournal keeps the first lines of a journal.
func cutJournal(t *testing.T, s *Store, run string, lines int) {
	t.Helper()
	path := filepath.Join(s.dir, run, journalName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := bytes.Join(bytes.SplitAfter(data, []byte("\n"))[:lines], nil)
	if err := os.WriteFile(path, kept, 0o600); err != nil {
		t.Fatal(err)
	}
}
