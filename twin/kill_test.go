// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// supervisor returns the process id of the twin's supervisor.
func supervisor(t *testing.T, tw *twin.Twin) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(tw.Dir(), "supervisor.lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestKilledSupervisor(t *testing.T) {
	ctx := testContext(t)
	opts := twin.Options{Name: "killed", Nodes: 2, Scenario: "testdata/web.yaml", Wait: true, StateDir: t.TempDir()}
	tw := twintest.Start(t, opts)
	client := twintest.Client(t, tw)
	before, err := client.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pids := processes(t, ctx, tw)
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the twin is stopped", func() bool { return status(t, ctx, tw).State == twin.Stopped })

	opts.Tied = true
	again, err := twin.Up(ctx, opts, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	wantGone(t, pids) // the components of the killed one
	client = twintest.Client(t, again)
	after, err := client.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.UID != before.UID {
		t.Errorf("the deployment has uid %s, had %s: its data is not the same", after.UID, before.UID)
	}
	pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	old := map[types.UID]bool{}
	for _, p := range pods.Items {
		old[p.UID] = true
	}
	// The new kubelets look after the pods of the old ones.
	if err := client.CoreV1().Pods("default").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "all pods are replaced and ready", func() bool {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ready := 0
		for _, p := range pods.Items {
			if p.DeletionTimestamp == nil && !old[p.UID] && podReady(&p) {
				ready++
			}
		}
		return ready == 3 && len(pods.Items) == 3
	})
}

// TestUpWhileItEnds: whoever finds a supervisor that is just ending starts the twin
// again when it is gone.
func TestUpWhileItEnds(t *testing.T) {
	ctx := testContext(t)
	opts := twin.Options{Name: "ending", Nodes: 1, StateDir: t.TempDir()}
	tw := twintest.Start(t, opts)
	pids := processes(t, ctx, tw)
	server := pids[2] // which is ended after what depends on it
	if err := errors.Join(syscall.Kill(server, syscall.SIGSTOP), syscall.Kill(pids[0], syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "it is being ended", func() bool { // status waits for the server to answer
		text, err := os.ReadFile(filepath.Join(tw.Dir(), "status.json"))
		return err == nil && strings.Contains(string(text), `"stopped"`)
	})
	opts.Tied = true
	found := false // it is not, if the server is killed before, because it does not end
	again, err := twin.Up(ctx, opts, func(line string) {
		t.Log(line)
		if !found && strings.Contains(line, "runs already") {
			found = true
			if err := syscall.Kill(server, syscall.SIGCONT); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if st := status(t, ctx, again); st.State != twin.Running || supervisor(t, again) == pids[0] {
		t.Errorf("it is %s, its supervisor %d, was %d", st.State, supervisor(t, again), pids[0])
	}
	wantGone(t, pids)
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// upEnv makes the test binary bring a twin up instead of testing: the state
// directory it is told. It tells its progress, a line at a time, and "up" at
// the end; with tiedEnv the twin is tied to it and it stays until it is killed.
// At a line that starts with atEnv it goes no further, and stays, too.
const (
	upEnv   = "REFIT_TWIN_TEST_UP"
	tiedEnv = "REFIT_TWIN_TEST_TIED"
	atEnv   = "REFIT_TWIN_TEST_AT"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(upEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	tied, at := os.Getenv(tiedEnv) != "", os.Getenv(atEnv)
	opts := twin.Options{Name: "half", Nodes: 2, Scenario: "testdata/web.yaml", StateDir: dir, Tied: tied}
	progress := func(line string) {
		fmt.Println(line)
		if at != "" && strings.HasPrefix(line, at) {
			<-time.After(deadline)
		}
	}
	if _, err := twin.Up(context.Background(), opts, progress); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("up")
	if tied {
		select {}
	}
}

// TestKilledUp kills the process that brings a twin up, at each of the lines
// that it says, and where the supervisor is there but not yet awake. The next one
// makes the twin, or takes it away.
func TestKilledUp(t *testing.T) {
	ctx := testContext(t)
	twintest.FindBinary(t)
	state := t.TempDir()
	t.Setenv("REFIT_STATE_DIR", state)
	for _, at := range []string{"starting", spawned, "adding", "applying"} {
		t.Run(at, func(t *testing.T) {
			upAndKill(t, state, at)
			all, err := twin.List()
			if err != nil || len(all) != 1 {
				t.Fatalf("List = %v, %v; want what is left of one", all, err)
			}
			if st := status(t, ctx, all[0]); st.State != twin.HalfMade {
				t.Fatalf("it is %s, want half-made", st.State)
			}
			if at == "adding" { // down cleans up
				if err := twin.Down(ctx, "half"); err != nil {
					t.Fatal(err)
				}
				if left, err := os.ReadDir(filepath.Join(state, "twins", "half")); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("left: %v, %v", left, err)
				}
				return
			}
			tw := twintest.Start(t, twin.Options{Name: "half", Nodes: 3, StateDir: state})
			if st := status(t, ctx, tw); st.State != twin.Running || st.Nodes != 3 {
				t.Errorf("status = %+v, want a running twin of 3 nodes", st)
			}
		})
	}
}

// spawned is a moment at which upAndKill kills: the supervisor's process was just
// started, or is about to be, and needs a while until it can be asked to end.
const spawned = "spawned"

// upAndKill runs Up in another process, which goes no further than the line that
// starts with at, and kills it there, by SIGKILL.
func upAndKill(t *testing.T, state, at string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	stay := at
	if at == spawned {
		stay = "adding" // the next line
	}
	cmd.Env = append(os.Environ(), upEnv+"="+state, atEnv+"="+stay)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if at == spawned {
		eventually(t, testContext(t), "the supervisor is being started", func() bool {
			_, err := os.Stat(filepath.Join(state, "twins", "half", "logs", "supervisor.err"))
			return err == nil
		})
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	said := []string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if strings.HasPrefix(lines.Text(), at) {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it ended with %v and said %q; want it to be killed at %q", err, said, at)
	}
}
