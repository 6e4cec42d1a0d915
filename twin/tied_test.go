// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// TestTied: a tied twin ends with the process that brought it up, killed or not.
func TestTied(t *testing.T) {
	ctx := testContext(t)
	twintest.FindBinary(t)
	state := t.TempDir()
	t.Setenv("REFIT_STATE_DIR", state)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), upEnv+"="+state, tiedEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var tw *twin.Twin
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "up") {
			if tw, err = twin.Open("half"); err != nil {
				t.Error(err)
			} else if st := status(t, ctx, tw); st.State != twin.Running {
				t.Errorf("it is %s", st.State)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if tw == nil {
		t.Fatal("it did not come up")
	}
	pids := []int{supervisor(t, tw)}
	eventually(t, ctx, "the twin is stopped", func() bool { return status(t, ctx, tw).State == twin.Stopped })
	if err := tw.Down(ctx); err != nil {
		t.Fatal(err)
	}
	wantGone(t, pids)
}
