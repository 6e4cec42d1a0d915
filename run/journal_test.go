// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/internal/hint"
)

var testTime = time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC)

func testSpec(nodes ...string) *Spec {
	s := &Spec{
		Run: "20261122-150405-abcd", Created: testTime, Cluster: Identity{UID: "cluster-uid", Server: "https://server"},
		Reboot: true, Drain: Drain{IgnoreDaemonSets: true}, Timeouts: DefaultTimeouts(),
	}
	s.MaxUnavailable, _ = ParseShare("2")
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, Target{Name: n, UID: testUID(n)})
	}
	s.fill()
	return s
}

func testStore(t *testing.T) *Store {
	t.Helper()
	return NewStore(filepath.Join(t.TempDir(), "refit", "runs"), clocktesting.NewFakePassiveClock(testTime))
}

// writeJournal makes a journal with some records of every shape and returns its path.
func writeJournal(t *testing.T, s *Store) (path string, records []Record) {
	t.Helper()
	j, err := s.create(t.Context(), testSpec("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Record{
		{Kind: KindOpened, Process: &Process{PID: 7, Host: "desk"}},
		{Kind: KindStep, Node: "a", Step: StepCordon, State: Intent},
		{Kind: KindStep, Node: "a", Step: StepDrain, State: Intent, Workloads: []Workload{{Kind: "Deployment", Namespace: "shop", Name: "näme \"quoted\"", Healthy: 3}}},
		{Kind: KindStep, Node: "a", Step: StepReboot, State: Intent, BootID: "one"},
		{Kind: KindNodeFailed, Node: "a", Reason: "line one\nline two", Timeout: true},
	} {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	path = j.path
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	records, torn, err := decode(data)
	if err != nil || torn != 0 || len(records) != 6 {
		t.Fatalf("%d records, %d torn, %v", len(records), torn, err)
	}
	return path, records
}

// TestNoJournal: a process that was killed before it had a journal leaves no run in anybody's way.
func TestNoJournal(t *testing.T) {
	s := testStore(t)
	if err := os.MkdirAll(s.Dir("20991124-235959-abcd"), 0o700); err != nil {
		t.Fatal(err)
	}
	if entries, err := s.List(); err != nil || len(entries) != 0 {
		t.Errorf("%+v, %v", entries, err)
	}
	writeJournal(t, s)
	for what, find := range map[string]func() (string, error){"newest": s.Newest, "unfinished": s.OnlyUnfinished} {
		if run, err := find(); err != nil || run != testSpec().Run {
			t.Errorf("%s: %q, %v", what, run, err)
		}
	}
}

func TestJournalRoundTrip(t *testing.T) {
	s := testStore(t)
	_, records := writeJournal(t, s)
	if !reflect.DeepEqual(records[0].Spec, testSpec("a", "b")) {
		t.Errorf("the specification came back as %+v", records[0].Spec)
	}
	for i, r := range records {
		if r.Seq != i+1 || !r.Time.Equal(testTime) {
			t.Errorf("record %d: seq %d, time %s", i, r.Seq, r.Time)
		}
	}
	j, status, torn, err := s.open(t.Context(), testSpec().Run)
	if err != nil || torn != 0 {
		t.Fatal(err, torn)
	}
	defer j.Close()
	if n := status.Nodes["a"]; n.Standing != Failed || !n.Timeout || n.BootID != "one" || n.Steps[StepReboot] != Intent {
		t.Errorf("node a: %+v", n)
	}
	if err := j.Append(Record{Kind: KindStopped}); err != nil {
		t.Fatal(err)
	}
}

// Wherever a kill cuts the last write off, the records before it are read, and
// the journal can be written on.
func TestJournalTornAtEveryOffset(t *testing.T) {
	origin := testStore(t)
	path, records := writeJournal(t, origin)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ends := []int{0} // of the records
	for i, b := range whole {
		if b == '\n' {
			ends = append(ends, i+1)
		}
	}
	for n := range len(whole) + 1 {
		complete := 0
		for complete+1 < len(ends) && ends[complete+1] <= n {
			complete++
		}
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, status, torn, err := origin.open(t.Context(), testSpec().Run)
		if complete == 0 {
			if err == nil || hint.Of(err) == "" {
				t.Fatalf("%d bytes hold no record, and were taken: %v", n, err)
			}
			continue
		}
		if err != nil || torn != n-ends[complete] {
			t.Fatalf("%d bytes: torn %d, want %d: %v", n, torn, n-ends[complete], err)
		}
		if want := statusOf(records[:complete]); !reflect.DeepEqual(status, want) {
			t.Fatalf("%d bytes: got %+v, want %+v", n, status, want)
		}
		if err := errors.Join(j.Append(Record{Kind: KindStopped, Reason: "again"}), j.Close()); err != nil {
			t.Fatal(err)
		}
		again, err := readJournal(filepath.Dir(path))
		if err != nil || len(again) != complete+1 || again[complete].Reason != "again" {
			t.Fatalf("%d bytes: %d records after one more, %v", n, len(again), err)
		}
	}
}

// Zeros at the end are what some file systems leave of a write after a power failure.
func TestJournalTailOfZeros(t *testing.T) {
	s := testStore(t)
	path, _ := writeJournal(t, s)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(whole, make([]byte, 512)...), 0o600); err != nil {
		t.Fatal(err)
	}
	j, _, torn, err := s.open(t.Context(), testSpec().Run)
	if err != nil || torn != 512 {
		t.Fatal(torn, err)
	}
	j.Close()
}

// Any other change of any byte is damage, and told.
func TestJournalDamage(t *testing.T) {
	s := testStore(t)
	path, _ := writeJournal(t, s)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, _, err := s.open(t.Context(), testSpec().Run)
		if err == nil || hint.Of(err) == "" || !strings.Contains(err.Error(), path) {
			t.Fatalf("%s: got %v", what, err)
		}
	}
	for i := range whole[:len(whole)-1] { // without its line end the last record is torn
		data := bytes.Clone(whole)
		data[i] ^= 1
		check(fmt.Sprintf("byte %d changed", i), data)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for i := range lines[:len(lines)-2] {
		check(fmt.Sprintf("line %d missing", i+1), bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil))
		check(fmt.Sprintf("line %d twice", i+1), bytes.Join(append(append([][]byte{}, lines[:i+1]...), lines[i:]...), nil))
	}
	check("empty line", append(bytes.Clone(whole), '\n'))
}

func TestJournalIsHeld(t *testing.T) {
	s := testStore(t)
	j, err := s.create(t.Context(), testSpec("a"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = s.open(t.Context(), testSpec().Run)
	if _, held := errors.AsType[*HeldError](err); !held {
		t.Errorf("got %v", err)
	}
	if status, err := s.Read(testSpec().Run); err != nil || status.Phase != PhaseRunning {
		t.Errorf("%+v, %v", status, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if status, err := s.Read(testSpec().Run); err != nil || status.Phase != PhaseKilled {
		t.Errorf("%+v, %v", status, err)
	}
	if err := j.Append(Record{Kind: KindStopped}); err == nil {
		t.Error("a closed journal takes records")
	}
}

// Whoever looks at a journal is waited for, not taken for somebody who works on
// the run; and not longer than is wanted.
func TestJournalIsLookedAt(t *testing.T) {
	s := testStore(t)
	path, _ := writeJournal(t, s)
	looker, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer looker.Close()
	if err := flock(looker, unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	if _, _, _, err := s.open(ctx, testSpec().Run); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		j, _, _, err := s.open(t.Context(), testSpec().Run)
		if err == nil {
			err = j.Close()
		}
		opened <- err
	}()
	if err := flock(looker, unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// fullDisk takes so many bytes and then no more.
type fullDisk struct {
	bytes.Buffer
	room     int
	failSync bool
}

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.room {
		n, _ := d.Buffer.Write(p[:d.room])
		d.room = 0
		return n, unix.ENOSPC
	}
	d.room -= len(p)
	return d.Buffer.Write(p)
}

func (d *fullDisk) Sync() error {
	if d.failSync {
		return unix.EIO
	}
	return nil
}

func TestJournalFullDisk(t *testing.T) {
	first, err := encode(Record{Seq: 1, Time: testTime, Kind: KindCreated, Spec: testSpec("a")})
	if err != nil {
		t.Fatal(err)
	}
	for room := len(first); room < len(first)+40; room++ {
		disk := &fullDisk{room: room}
		j := &Journal{file: disk, clock: clocktesting.NewFakePassiveClock(testTime), close: func() error { return nil }}
		if err := j.Append(Record{Kind: KindCreated, Spec: testSpec("a")}); err != nil {
			t.Fatal(err)
		}
		err := j.Append(Record{Kind: KindStep, Node: "a", Step: StepCordon, State: Intent})
		var broken *JournalError
		if !errors.Is(err, unix.ENOSPC) || !errors.As(err, &broken) {
			t.Fatalf("got %v", err)
		}
		disk.room = 1 << 20 // room again does not heal what may be half written
		if err := j.Append(Record{Kind: KindStopped}); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("a broken journal takes records: %v", err)
		}
		records, torn, err := decode(disk.Bytes())
		if err != nil || len(records) != 1 || torn != room-len(first) {
			t.Fatalf("%d records, %d torn, %v", len(records), torn, err)
		}
	}
	disk := &fullDisk{room: 1 << 20, failSync: true}
	j := &Journal{file: disk, clock: clock.RealClock{}}
	if err := j.Append(Record{Kind: KindStopped}); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v", err)
	}
}

func TestStoreThatCannotBeWritten(t *testing.T) {
	// A file where a directory has to be stops root as well.
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStore(filepath.Join(blocked, "runs"), clock.RealClock{})
	if _, err := s.create(t.Context(), testSpec("a")); err == nil || !strings.Contains(hint.Of(err), "REFIT_STATE_DIR") {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
}

func TestStoreLists(t *testing.T) {
	s := testStore(t)
	if entries, err := s.List(); err != nil || len(entries) != 0 {
		t.Fatalf("an empty store lists %v, %v", entries, err)
	}
	if _, err := s.OnlyUnfinished(); err == nil {
		t.Error("an empty store has an unfinished run")
	}
	begin := func(id string, records ...Record) {
		t.Helper()
		spec := testSpec("a")
		spec.Run = id
		j, err := s.create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if err := j.Append(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	begin("20261122-150405-000b", Record{Kind: KindFinished})
	begin("20261122-150405-000a", Record{Kind: KindOpened})
	begin("20261122-150404-000c", Record{Kind: KindAborted})
	if err := os.Mkdir(filepath.Join(s.dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Run+" "+string(e.Status.Phase))
	}
	want := []string{"20261122-150404-000c aborted", "20261122-150405-000a killed", "20261122-150405-000b finished"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if only, err := s.OnlyUnfinished(); err != nil || only != "20261122-150405-000a" {
		t.Errorf("got %s, %v", only, err)
	}
	begin("20261122-150406-000d")
	if _, err := s.OnlyUnfinished(); err == nil || hint.Of(err) == "" {
		t.Errorf("got %v for two unfinished runs", err)
	}
	for _, run := range []string{"20261122-150405-ffff", "", "..", "../../etc", "lost+found"} {
		var unknown *UnknownRunError
		if _, err := s.Read(run); !errors.As(err, &unknown) || hint.Of(err) == "" {
			t.Errorf("%q: got %v", run, err)
		}
	}
}

// A copy of a journal under another name would be a second process for one run.
func TestJournalOfAnotherRun(t *testing.T) {
	dir := t.TempDir()
	store := NewStore(dir, clock.RealClock{})
	j, err := store.create(t.Context(), testSpec("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	const other = "20200101-000000-0000"
	if err := os.Rename(filepath.Join(dir, testSpec("a").Run), filepath.Join(dir, other)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Read(other); err == nil || !strings.Contains(err.Error(), "it is the journal of run") {
		t.Errorf("read: %v", err)
	}
	if _, _, _, err := store.open(t.Context(), other); err == nil {
		t.Error("it is taken up")
	}
}

func TestJournalThatIsAPipe(t *testing.T) {
	dir := t.TempDir()
	const id = "20200101-000000-0000"
	if err := os.Mkdir(filepath.Join(dir, id), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, id, journalName), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := NewStore(dir, clock.RealClock{}).List()
	if err != nil || len(entries) != 1 || entries[0].Err == nil {
		t.Errorf("%+v, %v", entries, err)
	}
}
