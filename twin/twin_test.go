// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// deadline guards a test against a hang; nothing here takes a minute.
const deadline = 3 * time.Minute

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func status(t *testing.T, ctx context.Context, tw *twin.Twin) *twin.Status {
	t.Helper()
	st, err := tw.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestLife(t *testing.T) {
	ctx := testContext(t)
	state := t.TempDir()
	t.Setenv("REFIT_STATE_DIR", state)
	opts := twin.Options{Name: "life", Nodes: 4, Zones: 2, StateDir: state}
	tw := twintest.Start(t, opts)

	st := status(t, ctx, tw)
	if st.State != twin.Running || st.Nodes != 4 || st.NodesReady != 4 || len(st.Parts) != 5 {
		t.Errorf("status = %+v; want running, 4 nodes ready, 5 components", st)
	}
	checkNodes(t, ctx, tw)
	checkModes(t, tw.Dir())

	t.Run("up again", func(t *testing.T) {
		again, err := twin.Up(ctx, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := status(t, ctx, again); got.Parts[0].PID != st.Parts[0].PID {
			t.Errorf("etcd is process %d, was %d: it was started again", got.Parts[0].PID, st.Parts[0].PID)
		}
	})
	t.Run("up with other options", func(t *testing.T) {
		other := opts
		other.Nodes, other.Reboot = 5, time.Second
		_, err := twin.Up(ctx, other, nil)
		if !errors.Is(err, twin.ErrInvalid) || !strings.Contains(err.Error(), "nodes is 4, not 5") {
			t.Errorf("error = %v; want ErrInvalid that names the difference", err)
		}
		if got := status(t, ctx, tw); got.State != twin.Running {
			t.Errorf("the twin is %s afterwards", got.State)
		}
	})
	t.Run("a second one beside it", func(t *testing.T) {
		second := twintest.Start(t, twin.Options{Name: "second", Nodes: 1, StateDir: state})
		if a, b := status(t, ctx, tw), status(t, ctx, second); a.Nodes != 4 || b.Nodes != 1 || a.Server == b.Server {
			t.Errorf("%d nodes at %s and %d at %s; want 4 and 1 at different places", a.Nodes, a.Server, b.Nodes, b.Server)
		}
		all, err := twin.List()
		if err != nil || len(all) != 2 || all[0].Name() != "life" || all[1].Name() != "second" {
			t.Errorf("List = %v, %v; want life and second", all, err)
		}
	})
	t.Run("a dead component", func(t *testing.T) {
		before := status(t, ctx, tw).Parts[3]
		if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, before.Name+" runs again", func() bool {
			now := status(t, ctx, tw).Parts[3]
			return now.State == "ready" && now.PID != before.PID && now.Restarts == 1 && now.LastExit == "signal: killed"
		})
	})
	t.Run("down", func(t *testing.T) {
		pids := processes(t, ctx, tw)
		if err := twin.Down(ctx, "life"); err != nil {
			t.Fatal(err)
		}
		wantGone(t, pids)
		if _, err := os.Stat(tw.Dir()); !os.IsNotExist(err) {
			t.Errorf("its directory is still there: %v", err)
		}
		if _, err := twin.Open("life"); !errors.Is(err, twin.ErrNotFound) {
			t.Errorf("Open = %v, want ErrNotFound", err)
		}
		if err := twin.Down(ctx, "life"); !errors.Is(err, twin.ErrNotFound) {
			t.Errorf("Down of nothing = %v, want ErrNotFound", err)
		}
	})
}

// checkNodes looks at what the nodes say about themselves.
func checkNodes(t *testing.T, ctx context.Context, tw *twin.Twin) {
	t.Helper()
	nodes, err := twintest.Client(t, tw).CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	zones, boots := map[string]int{}, map[string]bool{}
	for i, n := range nodes.Items {
		if want := twin.NodeName(i, 4); n.Name != want || n.Labels[corev1.LabelHostname] != want {
			t.Errorf("node %d is %s with hostname %s, want %s", i, n.Name, n.Labels[corev1.LabelHostname], want)
		}
		zones[n.Labels[corev1.LabelTopologyZone]]++
		boots[n.Status.NodeInfo.BootID] = true
		if got := n.Status.NodeInfo.KubeletVersion; got != "v1.37.2" {
			t.Errorf("kubelet version %s", got)
		}
		if got := n.Status.Allocatable.Pods().Value(); got != 110 {
			t.Errorf("%d pods allocatable", got)
		}
	}
	if zones["zone-a"] != 2 || zones["zone-b"] != 2 || len(boots) != 4 {
		t.Errorf("zones %v, %d boot IDs; want two nodes in each of two zones, each with its own boot ID", zones, len(boots))
	}
}

// checkModes wants that nobody else can read the twin's files.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil // a log or status that is being replaced
		}
		if err != nil {
			return err
		}
		if perm := info.Mode().Perm(); perm&0o077 != 0 {
			t.Errorf("%s has mode %o", path, perm)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEmulatedVersions(t *testing.T) {
	ctx := testContext(t)
	for _, minor := range twin.Versions() {
		t.Run(minor, func(t *testing.T) {
			tw := twintest.Start(t, twin.Options{Kubernetes: minor, Nodes: 1, Scenario: "testdata/web.yaml", Wait: true})
			client := twintest.Client(t, tw)
			version, err := client.Discovery().ServerVersion()
			if err != nil {
				t.Fatal(err)
			}
			emulated := "1." + strings.TrimPrefix(minor, "1.")
			if got := version.EmulationMajor + "." + version.EmulationMinor; got != emulated {
				t.Errorf("emulates %q, want %s (%+v)", got, emulated, version)
			}
			node, err := client.CoreV1().Nodes().Get(ctx, "node-01", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := node.Status.NodeInfo.KubeletVersion; !strings.HasPrefix(got, "v"+minor+".") {
				t.Errorf("kubelet version %s", got)
			}
		})
	}
}

// eventually waits until ok, looking again and again: what it waits for cannot be watched.
func eventually(t *testing.T, ctx context.Context, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not seen: %s", what)
		case <-tick.C:
		}
	}
}

// processes returns the process ids of the twin: supervisor and components.
func processes(t *testing.T, ctx context.Context, tw *twin.Twin) []int {
	t.Helper()
	pids := []int{supervisor(t, tw)}
	for _, p := range status(t, ctx, tw).Parts {
		if p.PID == 0 {
			t.Fatalf("%s does not run: %+v", p.Name, p)
		}
		pids = append(pids, p.PID)
	}
	return pids
}

// wantGone fails the test if one of the processes is left (a zombie is not:
// its parent, the test, just has not looked yet).
func wantGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			t.Errorf("process %d is left: %s", pid, stat)
		}
	}
}
