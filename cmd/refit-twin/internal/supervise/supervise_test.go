// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deadline guards a test against a hang.
const deadline = time.Minute

// The test binary plays the children and, in a process of its own, the
// supervisor: what they do is their first argument.
const (
	playEnv  = "REFIT_TWIN_TEST_PLAY"
	diaryEnv = "REFIT_TWIN_TEST_DIARY" // file that children append to
)

func TestMain(m *testing.M) {
	if os.Getenv(playEnv) == "" {
		os.Exit(m.Run())
	}
	os.Exit(play())
}

func play() (code int) {
	if err := HoldLifeline(); err != nil {
		fmt.Println(err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch os.Args[1] {
	case "run":
		note("start " + os.Args[2])
		<-ctx.Done()
		note("end " + os.Args[2])
	case "die":
		note("start " + os.Args[2])
		return 7
	case "supervise":
		if err := Run(ctx, os.Args[2]); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	return 0
}

func note(line string) {
	f, err := os.OpenFile(os.Getenv(diaryEnv), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, line)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// stage makes a twin's directory with a child for each of plays, "run NAME" or
// "die NAME"; "run NAME LEADER" is one that follows LEADER.
func stage(t *testing.T, plays ...string) (dir string, diary func() []string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "diary")
	cfg := config{}
	for _, play := range plays {
		args := strings.Fields(play)
		c := childConfig{Name: args[1], Args: args, Env: []string{playEnv + "=1", diaryEnv + "=" + path}}
		if len(args) == 3 {
			c.Follows = args[2]
		}
		cfg.Children = append(cfg.Children, c)
	}
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "twin.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, func() []string {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(data)), "\n")
	}
}

// supervised runs a supervisor in a process of its own.
func supervised(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "supervise", dir)
	cmd.Env = append(os.Environ(), playEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the directory is removed: nobody must write there any more
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		runLockIsFree(t, dir)
	})
	return cmd
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(deadline)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			t.Fatalf("not seen: %s", what)
		case <-tick.C:
		}
	}
}

func runLockIsFree(t *testing.T, dir string) {
	t.Helper()
	eventually(t, "the run lock is free: no child is left", func() bool {
		f, err := lock(filepath.Join(dir, "run.lock"), syscall.LOCK_EX)
		if err == nil {
			_ = f.Close()
		}
		return err == nil
	})
}

func readBoard(t *testing.T, dir string) status {
	t.Helper()
	var s status
	data, err := os.ReadFile(filepath.Join(dir, "status.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func states(s status) string {
	var out []string
	for _, c := range s.Children {
		out = append(out, c.State)
	}
	return strings.Join(out, " ")
}

func TestOrder(t *testing.T) {
	dir, diary := stage(t, "run a", "run b", "run c")
	cmd := supervised(t, dir)
	eventually(t, "all children run", func() bool { return len(diary()) == 3 && states(readBoard(t, dir)) == "ready ready ready" })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the supervisor ended with %v", err)
	}
	// Children without a probe start side by side; they end one after the other.
	lines := diary()
	slices.Sort(lines[:3])
	if got, want := strings.Join(lines, ", "), "start a, start b, start c, end c, end b, end a"; got != want {
		t.Errorf("diary: %s, want %s", got, want)
	}
	if got := states(readBoard(t, dir)); got != "stopped stopped stopped" {
		t.Errorf("states: %s", got)
	}
}

func TestDyingChildIsStartedAgain(t *testing.T) {
	dir, _ := stage(t, "run steady", "die sick")
	supervised(t, dir)
	eventually(t, "the sick child died three times", func() bool {
		s := readBoard(t, dir)
		return len(s.Children) == 2 && s.Children[1].Restarts >= 3 && s.Children[1].LastExit == "exit status 7"
	})
	if s := readBoard(t, dir); s.Children[0].Restarts != 0 || s.Children[0].State != stateReady {
		t.Errorf("the steady child: %+v", s.Children[0])
	}
}

func TestFollowerIsStartedAgainWithItsLeader(t *testing.T) {
	dir, diary := stage(t, "run leader", "run follower leader", "run other")
	supervised(t, dir)
	eventually(t, "all children run", func() bool { return len(diary()) == 3 && states(readBoard(t, dir)) == "ready ready ready" })
	if err := syscall.Kill(readBoard(t, dir).Children[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "leader and follower run again", func() bool {
		s := readBoard(t, dir)
		return s.Children[0].Restarts == 1 && s.Children[1].Restarts == 1 && states(s) == "ready ready ready"
	})
	if got := readBoard(t, dir).Children[2].Restarts; got != 0 {
		t.Errorf("a child that follows nobody was started again %d times", got)
	}
	if !slices.Contains(diary(), "end follower") {
		t.Errorf("diary: %q, want an orderly end of the follower", diary())
	}
}

func TestKilledSupervisorLeavesNobody(t *testing.T) {
	dir, diary := stage(t, "run a", "run b")
	cmd := supervised(t, dir)
	eventually(t, "all children run", func() bool { return len(diary()) == 2 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	runLockIsFree(t, dir)
	if got := len(diary()); got != 2 {
		t.Errorf("%q: a child ended in order, although nobody was there to ask it", diary())
	}
}

func TestSecondSupervisorIsRefused(t *testing.T) {
	dir, diary := stage(t, "run a")
	supervised(t, dir)
	eventually(t, "the child runs", func() bool { return len(diary()) == 1 && diary()[0] != "" })
	if err := Run(context.Background(), dir); err == nil || !strings.Contains(err.Error(), "another supervisor") {
		t.Errorf("a second supervisor: %v", err)
	}
}

func TestConfigOfAnotherVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, data := range []string{`{"children":[],"colour":"blue"}`, `{"children":[{"name":"a"}]}`, `{`} {
		if err := os.WriteFile(filepath.Join(dir, "twin.json"), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Run(context.Background(), dir); err == nil {
			t.Errorf("%s is accepted", data)
		}
	}
}

func TestBoundedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range 40 {
		if n, err := l.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	for _, p := range []string{path, path + ".1"} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > maxLog || info.Size() == 0 {
			t.Errorf("%s has %d bytes", p, info.Size())
		}
	}
	// It carries on where an earlier one left.
	again, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.size != 40<<20-2*maxLog {
		t.Errorf("size is %d", again.size)
	}
}
