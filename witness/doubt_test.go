// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// These tests take something away from what the witness sees. Each time it has
// to say that it cannot judge; a pass would be a lie.

func wantError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want one that says %q", err, part)
	}
}

func TestMissedChange(t *testing.T) {
	h := newHistory(t, unavailable(1))
	pods := h.ledgers["pods"]
	h.evict(h.pod("a"), refit)
	d := h.pod("d")
	h.add("pods", watch.Added, d)
	live := []metav1.Object{pods.changes[1].object, h.pod("b"), h.pod("c"), d}
	live[1].SetResourceVersion("100")
	live[2].SetResourceVersion("100")
	if err := pods.compare(h.revision, live); err != nil {
		t.Fatal("a whole history:", err)
	}
	for i := 1; i < len(pods.changes); i++ {
		torn := newLedger("pods", pods.start, pods.initial)
		torn.changes = slices.Concat(pods.changes[:i], pods.changes[i+1:])
		wantError(t, torn.compare(h.revision, live), "a change was missed")
	}
	// A deletion that was missed, and the creation of what is gone again.
	wantError(t, pods.compare(h.revision, live[:3]), "a deletion was missed")
	h.add("pods", watch.Deleted, h.pod("e"))
	_, err := pods.at(h.revision)
	wantError(t, err, "shop/e is DELETED")
	wantError(t, pods.compare(h.revision, live), "does not fit")
}

func TestHistoryThatDoesNotFit(t *testing.T) {
	h := newHistory(t, unavailable(1))
	unknown := h.pod("x")
	h.add("pods", watch.Modified, unknown)
	_, err := h.ledgers["pods"].at(h.revision)
	wantError(t, err, "does not fit")

	l := newLedger("pods", 100, nil)
	if err := l.add(change{105, epoch, watch.Added, h.pod("a")}); err != nil {
		t.Fatal(err)
	}
	wantError(t, l.add(change{104, epoch, watch.Added, h.pod("b")}), "came after revision 105")
	bad := h.pod("a")
	bad.ResourceVersion = "W/abc"
	_, err = revisionOf(bad)
	wantError(t, err, "not a number")
}

func TestNobodyAsked(t *testing.T) {
	h := newHistory(t, unavailable(1))
	h.end(h.pod("a"))
	_, err := h.judge()
	wantError(t, err, "not explained: shop/a")
	h.log("create", "eviction", h.pod("a"), refit, 429) // was refused: explains nothing
	_, err = h.judge()
	wantError(t, err, "not explained: shop/a")
	h.log("delete", "", h.pod("a"), controller, 200)
	if _, err = h.judge(); err != nil {
		t.Error(err)
	}
}

func TestWatchSawNothingOfIt(t *testing.T) {
	h := newHistory(t, unavailable(1))
	h.log("create", "eviction", h.pod("a"), refit, 201)
	_, err := h.judge()
	wantError(t, err, "the watch saw nothing of it")
}

func TestExpectedPodsNotKnown(t *testing.T) {
	h := newHistory(t, unavailable(1))
	a := h.pod("a")
	a.OwnerReferences[0].Kind, a.OwnerReferences[0].UID = "CloneSet", "uid-of-clones"
	h.add("pods", watch.Modified, a)
	if _, err := h.judge(); err != nil {
		t.Error("as long as nothing is disrupted:", err)
	}
	h.evict(h.pod("b"), refit)
	_, err := h.judge()
	wantError(t, err, "how many pods budget shop/cart expects is not known")
}

// TestWhoseDeletionItWas: a pod that refit evicted is deleted again by its
// kubelet, and one that its controller deletes is asked for by refit in vain.
func TestWhoseDeletionItWas(t *testing.T) {
	h := newHistory(t, unavailable(9))
	a := h.pod("a")
	h.log("delete", "", a, "system:node:n1", 200) // written before the eviction's line
	h.evict(a, refit)
	b := h.remove(h.pod("b"), controller)
	h.log("create", "eviction", b, refit, 201)
	h.modifyPod(b, func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI",
		})
	})
	if v := h.mustJudge(); v.Evictions != 1 || len(v.Deletions) != 0 {
		t.Errorf("%d evictions, deletions %v", v.Evictions, v.Deletions)
	}
}

// A kubelet is done with a deletion before the server has told whoever asked for it.
func TestDeletionToldAfterTheKubelets(t *testing.T) {
	h := newHistory(t, unavailable(0))
	a := h.end(h.pod("a"))
	h.logReceived(epoch.Add(time.Second), "delete", "", a, "system:node:n1", 200)
	h.logReceived(epoch, "delete", "", a, "somebody", 200)
	if v := h.mustJudge(); len(v.Deletions) != 1 || v.Deletions[0].By != "somebody" || len(v.Broken) != 1 {
		t.Errorf("deletions %v, broken %v", v.Deletions, v.Broken)
	}
}

// A request's line may come after that of a kubelet which follows it: the kubelet's
// explains nothing, and the witness waits for the other one.
func TestDeletionNotToldYet(t *testing.T) {
	h := newHistory(t, unavailable(0))
	a := h.modifyPod(h.pod("a"), func(p *corev1.Pod) {
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: epoch}, ptr.To[int64](30)
	})
	line := func(user, options string) string {
		return fmt.Sprintf(`{"stage":"ResponseComplete","verb":"delete","user":{"username":%q},"objectRef":{"resource":"pods","namespace":"shop","name":"a"},`+
			`"responseStatus":{"code":200},"requestObject":{%s},"responseObject":{"metadata":{"uid":%q}}}`, user, options, a.UID) + "\n"
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	write := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	log, err := openAudit(path, h.audit.controlPlane)
	if err != nil {
		t.Fatal(err)
	}
	defer log.file.Close()
	r, err := h.play()
	if err != nil {
		t.Fatal(err)
	}

	early := line("system:node:n1", `"gracePeriodSeconds":0`) + line("somebody in a hurry", `"gracePeriodSeconds":-1`)
	write(early)
	if err := log.read(); err != nil {
		t.Fatal(err)
	}
	if by, open := explain(r.disruptions, log.asks); len(log.asks) != 2 || len(open) != 1 {
		t.Errorf("%d requests, %s is blamed", len(log.asks), by[r.disruptions[0]].user)
	}
	write(early, line("somebody", ""))
	w := &Witness{audit: log, clock: clock.RealClock{}}
	by, err := w.blame(t.Context(), r)
	if err != nil || by[r.disruptions[0]].user != "somebody" {
		t.Errorf("blamed %v, %v", by, err)
	}
}

func TestAuditLines(t *testing.T) {
	h := newHistory(t, unavailable(1))
	lines := strings.Join([]string{
		`{"stage":"ResponseStarted","verb":"delete","objectRef":{"resource":"pods","name":"a"},"responseStatus":{"code":200}}`,
		`{"stage":"ResponseComplete","verb":"create","requestURI":"/x?dryRun=All","objectRef":{"resource":"pods","subresource":"eviction","name":"a"},"responseStatus":{"code":201}}`,
		`{"stage":"ResponseComplete","verb":"create","objectRef":{"resource":"pods","subresource":"eviction","name":"a"},"responseStatus":{"code":201},"requestObject":{"deleteOptions":{"dryRun":["All"]}}}`,
		`{"stage":"ResponseComplete","verb":"delete","objectRef":{"resource":"nodes","name":"a"},"responseStatus":{"code":200}}`,
		`{"stage":"ResponseComplete","verb":"deletecollection","user":{"username":"u"},"objectRef":{"resource":"pods","namespace":"shop"},"responseStatus":{"code":200},"responseObject":{"items":[{"metadata":{"uid":"1"}},{"metadata":{"uid":"2"}}]}}`,
		`{"stage":"ResponseComplete","verb":"delete","objectRef":{"resource":"pods","name":"a"},"responseStatus":{"code":200},"responseObject":{"details":{"uid":"3"}}}`,
		"",
	}, "\n")
	// Lines come in pieces.
	for _, piece := range []string{lines[:300], lines[300:]} {
		if err := h.audit.parse([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.audit.asks) != 2 || len(h.audit.asks[0].uids) != 2 || h.audit.asks[1].uids[0] != "3" {
		t.Errorf("asks %+v", h.audit.asks)
	}
	wantError(t, h.audit.parse([]byte("{broken\n")), "no entry")
}

func TestAuditLogRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old line that is none\n")
	log, err := openAudit(path, func(string, []string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.file.Close() })
	if err := log.read(); err != nil {
		t.Fatal("what was there before is nobody's business:", err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("")
	wantError(t, log.read(), "rotated")
}

// The API server may be in the middle of a line when the witness begins to read.
func TestAuditLogOpenedWithinALine(t *testing.T) {
	const line = `{"stage":"ResponseComplete","verb":"delete","objectRef":{"resource":"pods","namespace":"shop","name":"web-0"},"responseStatus":{"code":200}}` + "\n"
	for _, before := range []string{"", "old line that is none\n", strings.Repeat(line, 1000)} {
		for _, cut := range []int{0, 1, len(line) / 2, len(line) - 1} {
			path := filepath.Join(t.TempDir(), "audit.log")
			if err := os.WriteFile(path, []byte(before+line[:cut]), 0o600); err != nil {
				t.Fatal(err)
			}
			log, err := openAudit(path, func(string, []string) bool { return false })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = log.file.Close() })
			if err := os.WriteFile(path, []byte(before+line), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := log.read(); err != nil || len(log.asks) != 1 {
				t.Errorf("opened %d bytes within a line, %d before it: %v, %d requests", cut, len(before), err, len(log.asks))
			}
		}
	}
	long := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(long, []byte(line+strings.Repeat(" ", 200<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := openAudit(long, func(string, []string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	defer log.file.Close()
	if at, err := log.file.Seek(0, io.SeekCurrent); err != nil || at != int64(len(line)) {
		t.Errorf("begins at %d, want %d: %v", at, len(line), err)
	}
}
