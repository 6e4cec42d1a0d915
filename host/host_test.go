// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"refit.dev/refit/twin/simulated"
)

func testNode() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-01", UID: "uid-1", Labels: map[string]string{simulated.KubeletLabel: simulated.KubeletRunning}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeHostName, Address: "node-01"}, {Type: corev1.NodeInternalIP, Address: "10.0.0.1"},
		}},
	}
}

func run(t *testing.T, ctx context.Context, command string) ([]string, error) {
	t.Helper()
	var lines []string
	err := NewLocal(testNode(), "run-1").Run(ctx, command, func(line string) { lines = append(lines, line) })
	return lines, err
}

func TestLocalOutputAndEnvironment(t *testing.T) {
	lines, err := run(t, t.Context(), `echo $REFIT_NODE $REFIT_NODE_UID $REFIT_NODE_ADDRESS $REFIT_RUN; echo err >&2; printf 'no end'`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"node-01 uid-1 10.0.0.1 run-1", "err", "no end"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

func TestLocalExitStatus(t *testing.T) {
	for command, code := range map[string]int{"exit 3": 3, "kill -9 $$": -1, "/does/not/exist": 127} {
		_, err := run(t, t.Context(), command)
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != code {
			t.Errorf("%s: got %v, want status %d", command, err, code)
		}
	}
}

// What a command says of itself is for its operator: errors become Events of the cluster.
func TestLocalErrorsDoNotQuoteTheCommand(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for command, ctx := range map[string]context.Context{
		"exit 3 # hunter2": t.Context(), "kill -9 $$ # hunter2": t.Context(), "sleep 600 # hunter2": stopped,
	} {
		if _, err := run(t, ctx, command); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", command, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := run(t, t.Context(), "true # hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("not started: got %v", err)
	}
}

func TestLocalNotStarted(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := run(t, t.Context(), "true")
	var exit *ExitError
	if err == nil || errors.As(err, &exit) {
		t.Errorf("got %v, want an error that is no ExitError", err)
	}
}

// A command that ignores the request to end, and its child, are gone when Run returns.
func TestLocalEndsWholeGroup(t *testing.T) {
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("enough")
	command := fmt.Sprintf(`trap '' TERM; sleep 600 & echo $! >%[1]s.tmp; echo $$ >>%[1]s.tmp; mv %[1]s.tmp %[1]s; echo up; wait; sleep 600`, pids)
	err := NewLocal(testNode(), "run-1").Run(ctx, command, func(string) { cancel(stopped) })
	if !errors.Is(err, stopped) {
		t.Errorf("got %v, want the cause of the context's end", err)
	}
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		waitGone(t, pid)
	}
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		// A killed process is a zombie until its parent has looked at it.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") || syscall.Kill(pid, 0) != nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("process %d is still there", pid)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// What a command leaves behind keeps the pipe open; Run does not wait for it.
func TestLocalBackgroundProcess(t *testing.T) {
	lines, err := run(t, t.Context(), "sleep 600 & echo $!")
	if err != nil || len(lines) != 1 {
		t.Fatalf("got %q, %v", lines, err)
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the background process was ended: %v", err)
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct {
		writes []string
		want   []string
	}{
		{[]string{"a\nb\n"}, []string{"a", "b"}},
		{[]string{"a", "b\r\n", "\n", "c"}, []string{"ab", "", "c"}},
		{[]string{long + "\n"}, []string{long}},
		{[]string{long, "yz", "y\nnext"}, []string{long + "... (3 bytes left out)", "next"}},
		{[]string{"\xff\n"}, []string{"\uFFFD"}},
		{nil, nil},
	} {
		var got []string
		w := &lineWriter{out: func(line string) { got = append(got, line) }}
		for _, s := range c.writes {
			if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
				t.Fatalf("Write: %d, %v", n, err)
			}
		}
		w.Close()
		if !slices.Equal(got, c.want) {
			t.Errorf("%.40q: got %.60q, want %.60q", c.writes, got, c.want)
		}
	}
}

func TestOf(t *testing.T) {
	client := fake.NewClientset()
	if _, ok := Of(client, testNode(), "run-1").(*Simulated); !ok {
		t.Error("a node with the twin's label is not simulated")
	}
	plain := testNode()
	plain.Labels = nil
	h := Of(client, plain, "run-1")
	if err := h.Reboot(t.Context(), "id"); !errors.Is(err, ErrNoReboot) || CanReboot(plain) {
		t.Errorf("a plain node can be rebooted: %v", err)
	}
}

func TestSimulatedReboot(t *testing.T) {
	node := testNode()
	client := fake.NewClientset(node)
	h := Of(client, node, "run-1")
	for range 2 {
		if err := h.Reboot(t.Context(), "boot-2"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := client.CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{})
	if err != nil || got.Annotations[simulated.RebootAnnotation] != "boot-2" {
		t.Errorf("annotations %v, %v", got.Annotations, err)
	}
	for _, a := range client.Actions() {
		if p, ok := a.(clienttesting.PatchAction); ok && !strings.Contains(string(p.GetPatch()), `"uid":"uid-1"`) {
			t.Errorf("patch without the node's UID: %s", p.GetPatch())
		}
	}
}

func TestSimulatedRebootOfReplacedNode(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("patch", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewConflict(corev1.Resource("nodes"), "node-01", errors.New("uid mismatch"))
	})
	err := NewSimulated(client, testNode(), "run-1").Reboot(t.Context(), "boot-2")
	if err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("got %v", err)
	}
}
