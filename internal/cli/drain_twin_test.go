// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// TestDrain is the command line of cordon, uncordon and drain: what goes where,
// and with which exit code. What a drain does is tested in package drain.
func TestDrain(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 3, Zones: 1, Scenario: "testdata/drain.yaml", Wait: true})
	t.Setenv("KUBECONFIG", tw.MaintainerKubeconfig())
	client := twintest.Client(t, tw)
	awaitBudgets(t, client, full)
	held := podsOf(t, client, "held")
	if len(held) != 1 {
		t.Fatalf("%d pods are held", len(held))
	}
	const budget = "budget default/held allows 0 disruptions: 1 healthy of 1 expected pods, 1 must stay healthy"

	steps := []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // parts
		cordoned       string // nodes, afterwards
	}{
		{"unknown node", []string{"drain", "node-01", "node-08", "node-09"}, exitUsage, "", "no nodes node-08, node-09", ""},
		{"nothing matches", []string{"drain", "-l", "a=b", "--yes"}, exitUsage, "", `no node matches "a=b"`, ""},
		{"nobody to ask", []string{"drain", "-l", "kubernetes.io/hostname"}, exitUsage, "", "say --yes", ""},
		{"no server", []string{"drain", "node-01", "--server", "https://127.0.0.1:1"}, exitFailed, "", "hint: the API server cannot be reached", ""},
		{"not without a flag", []string{"drain", "node-01", "node-02"}, exitBlocked, "", "cannot delete Pods that declare no controller (use --force to override): default/bare", ""},
		{"client dry run", []string{"drain", "node-01", "--dry-run"}, exitDone, "(dry run)", "nothing was changed", ""},
		{"server dry run", []string{"drain", "node-01", "--dry-run=server"}, exitDone, "(server dry run)", "3 pods", ""},
		{"server dry run of what is stuck", []string{"drain", "node-03", "--dry-run=server"}, exitBlocked, "", budget, ""},
		{"timeout", []string{"drain", "node-03", "--timeout", "1s"}, exitUnfinished, "node/node-03 uncordoned", budget, ""},
		{"timeout, keeping the cordon", []string{"drain", "node-03", "--timeout", "1s", "--keep-cordon"}, exitUnfinished, "node/node-03 failed", budget, "node-03"},
		{"uncordon", []string{"uncordon", "node-03"}, exitDone, "node/node-03 uncordoned", "", ""},
		{"uncordon again", []string{"uncordon", "node-03"}, exitDone, "node/node-03 already uncordoned", "", ""},
		{"cordon, dry run", []string{"cordon", "node-03", "--dry-run=server"}, exitDone, "node/node-03 cordoned (server dry run)", "", ""},
		{"cordon", []string{"cordon", "node/node-03"}, exitDone, "node/node-03 cordoned", "", "node-03"},
		{"cordon again", []string{"cordon", "node-03"}, exitDone, "node/node-03 already cordoned", "", "node-03"},
		{"a cordon by hand stays after a timeout", []string{"drain", "node-03", "--timeout", "1s"}, exitUnfinished, "node/node-03 failed", "stays cordoned", "node-03"},
		{"cordon unknown", []string{"cordon", "node-09"}, exitUsage, "", "no node node-09", "node-03"},
		{"uncordon selected", []string{"uncordon", "-l", "kubernetes.io/hostname=node-03", "--yes"}, exitDone, "node/node-03 uncordoned", "", ""},
		{"past the budget, without the right", []string{"drain", "node-03", "--disable-eviction"}, exitFailed, "node/node-03 failed", "hint: allow this user", ""},
		{"past the budget", []string{"drain", "node-03", "--disable-eviction", "--timeout", "1m", "--kubeconfig", tw.Kubeconfig()}, exitDone, "node/node-03 drained", "1 of 1 node drained", "node-03"},
		{"with the flag", []string{"drain", "node-02", "--force"}, exitDone, "node/node-02 drained", "warning: ", "node-02 node-03"},
		{"empty", []string{"drain", "-l", "kubernetes.io/hostname in (node-02, node-03)", "--yes"}, exitDone, "node/node-02 drained", "2 of 2 nodes", "node-02 node-03"},
	}
	for _, s := range steps {
		if !t.Run(s.name, func(t *testing.T) {
			out, errw, code := refit(t, s.args...)
			if code != s.code || !strings.Contains(out, s.stdout) || !strings.Contains(errw, s.stderr) {
				t.Errorf("exit %d, want %d; stdout, with %q in it:\n%s\nstderr, with %q in it:\n%s", code, s.code, s.stdout, out, s.stderr, errw)
			}
			if got := cordonedNodes(t, client); got != s.cordoned {
				t.Errorf("cordoned %q, want %q", got, s.cordoned)
			}
		}) {
			break // they build on each other
		}
	}

	// How many pods were deleted past the budget is up to the scheduler, too: one that
	// has not seen the cordon yet puts another one there.
	for uid := range podsOf(t, client, "held") {
		if held[uid] {
			t.Errorf("pod %s was not deleted past its budget", uid)
		}
	}

	t.Run("events", func(t *testing.T) {
		out, errw, code := refit(t, "drain", "node-01", "-o", "json")
		events := decodeEvents(t, out)
		last := events[len(events)-1]
		// The three pods that stood there, and perhaps a replacement: a scheduler that has
		// not seen the cordon yet puts it on the node, too.
		evicted := map[string]bool{}
		for _, e := range events {
			if e.Type == event.PodEvicted {
				evicted[e.Pod.UID] = true
			}
		}
		if code != exitDone || errw != "" || last.Type != event.Summary || last.Result != event.ResultDone || last.Counts == nil ||
			len(evicted) < 3 || last.Evicted != len(evicted) || last.Seconds <= 0 {
			t.Errorf("exit %d, stderr %s:\n%s", code, errw, out)
		}
		for _, field := range []string{fmt.Sprintf(`"evicted":%d`, len(evicted)), `"skipped":0`, `"blocked":0`, `"seconds":`} {
			if !strings.Contains(out, field) {
				t.Errorf("no %s in:\n%s", field, out)
			}
		}
	})

	t.Run("interrupted", func(t *testing.T) {
		if _, errw, code := refit(t, "uncordon", "node-01", "node-02", "node-03"); code != exitDone {
			t.Fatal(errw)
		}
		awaitBudgets(t, client, full) // the pod that was drained past its budget has its place again
		ctx, interrupt := context.WithCancelCause(t.Context())
		defer interrupt(nil)
		out := &notify{is: `"type":"pod-blocked"`, then: func() { interrupt(errors.New("interrupt signal received")) }}
		var errw bytes.Buffer
		streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: &errw}
		started := time.Now()
		code := Run(ctx, streams, "refit", []string{"drain", "node-03", "-o", "json"})
		events := decodeEvents(t, out.String())
		last := events[len(events)-1]
		if code != exitUnfinished || last.Type != event.Summary || last.Result != event.ResultUnfinished || len(last.Remaining) != 1 || last.Blocked != 1 {
			t.Errorf("exit %d after %s, stderr %s:\n%s", code, time.Since(started), &errw, out)
		}
		if got := cordonedNodes(t, client); got != "" {
			t.Errorf("%s stays cordoned", got)
		}
	})
}

// podsOf are the pods of an app, by UID.
func podsOf(t *testing.T, client kubernetes.Interface, app string) map[types.UID]bool {
	t.Helper()
	list, err := client.CoreV1().Pods(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		t.Fatal(err)
	}
	uids := map[types.UID]bool{}
	for i := range list.Items {
		uids[list.Items[i].UID] = true
	}
	return uids
}

// cordonedNodes lists the nodes that are unschedulable. Those that are not must
// not bear a mark, either.
func cordonedNodes(t *testing.T, client kubernetes.Interface) string {
	t.Helper()
	list, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range list.Items {
		if n.Spec.Unschedulable {
			names = append(names, n.Name)
		} else if _, marked := cluster.MarkOf(&n); marked {
			t.Errorf("%s is schedulable and marked", n.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// notify is a buffer that does something once a text was written to it.
type notify struct {
	is   string
	then func()

	mu   sync.Mutex
	text strings.Builder
	once sync.Once
}

func (n *notify) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text.Write(p)
	if strings.Contains(n.text.String(), n.is) {
		n.once.Do(n.then)
	}
	return len(p), nil
}

func (n *notify) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}
