// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"refit.dev/refit/event"
	"refit.dev/refit/provider"
)

// TestReplaceKilledAtEveryRecord kills a run that replaces a node right before, in the middle of, and
// right after each record that it writes, and has another process resume it. Judges are the books of
// the provider and the audit log of the API server: each machine was made once and removed
// once, each Node deleted once, and as many of both are there as before.
func TestReplaceKilledAtEveryRecord(t *testing.T) {
	s := newReplaceSite(t, 3)
	round := func(t *testing.T, n int, when moment) []Record {
		s.enrol(t)
		old := s.names(t)[0]
		upgrade := s.request(t, "", provider.JoinOwn, 1, old)
		e := errand{Kubeconfig: s.twin.MaintainerKubeconfig(), State: t.TempDir(), Request: request(), Upgrade: &upgrade, N: n, When: when}
		a, killed := e.run(t)
		if killed != (when != never) {
			t.Fatalf("killed: %t, %+v", killed, a)
		}
		if killed {
			e.N, e.When = 0, never
			if e.Resume = started(t, s.operatorStore(e.State)); e.Resume != "" {
				e.Upgrade = nil
			}
			a, _ = e.run(t)
		}
		if a.Err != "" || a.Result != event.ResultDone {
			t.Fatalf("resumed: %+v", a)
		}
		s.balanced(t, 3)
		if b := s.simulator("").read(t); len(b.Created) != 1 || len(b.Deleted) != 1 {
			t.Errorf("made %v, removed %v; want one of each", b.Created, b.Deleted)
		}
		if n := s.deletions(t)[old]; n != 1 {
			t.Errorf("node %s was deleted %d times", old, n)
		}
		s.clean(t)
		s.whole(t)
		records, err := s.operatorStore(e.State).Records(a.Run)
		if err != nil {
			t.Fatal(err)
		}
		return records
	}
	records := round(t, 0, never)
	t.Logf("a run writes %d records", len(records))
	for i, r := range records {
		n, moments := i+1, []moment{before}
		if r.State == Intent || n == 1 || n == len(records) { // else it is the same as before the next
			moments = append(moments, afterwards)
		}
		if n%5 == 0 { // TestJournalTornAtEveryOffset has all of them, in one process
			moments = append(moments, torn)
		}
		for _, when := range moments {
			t.Run(fmt.Sprintf("%02d %s", n, when), func(t *testing.T) { round(t, n, when) })
		}
	}
}

// deletions are the Nodes that the API server has deleted on request, by its own audit log.
func (s *site) deletions(t *testing.T) map[string]int {
	t.Helper()
	f, err := os.Open(s.twin.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var e struct {
			Stage, Verb    string
			ObjectRef      struct{ Resource, Subresource, Name string }
			ResponseStatus struct{ Code int }
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Verb == "delete" && e.ObjectRef.Resource == "nodes" && e.Stage == "ResponseComplete" && slices.Contains([]int{200, 202}, e.ResponseStatus.Code) {
			found[e.ObjectRef.Name]++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
