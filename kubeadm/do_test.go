// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/skew"
)

// units is a machine on which units can be started; how each attempt ends is told
// beforehand.
type units struct {
	*hosttest.Machine
	state   host.UnitState // of the one unit
	code    int
	log     string
	started int
	kubeadm string    // the version of the package; "" is 1.36.3-1.1
	results []outcome // of the attempts that come
}

type outcome struct {
	code int
	log  string
}

func newUnits(t *testing.T, results ...outcome) *units {
	u := &units{Machine: hosttest.New(t, "node-1"), state: host.UnitAbsent, results: results}
	u.SetFile("/etc/os-release", "ID=debian\n", 0o644)
	u.AlwaysFunc("find apt", func(argv []string) bool { return argv[0] == "find" && argv[1] == "/usr/bin/apt-get" }).Stdout("/usr/bin/apt-get\n")
	u.AlwaysFunc("find", func(argv []string) bool { return argv[0] == "find" }).Code(1)
	u.AlwaysFunc("stat", func(argv []string) bool { return argv[0] == "stat" }).Stdout("640\n")
	return u
}

// Exec answers what host.Unit asks; the rest is the script's.
func (u *units) Exec(ctx context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	switch line := strings.Join(argv, " "); {
	case strings.HasPrefix(line, "systemctl show") && strings.HasSuffix(line, "kubelet.service"):
		return host.Result{Stdout: []byte("ActiveState=inactive\nSubState=dead\nMainPID=0\n")}, nil
	case strings.HasPrefix(line, "systemctl show"):
		text := "LoadState=not-found\nActiveState=inactive\n"
		switch u.state {
		case host.UnitRunning:
			text = "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=9\n"
			u.end() // by the time of the next look
		case host.UnitEnded:
			text = fmt.Sprintf("LoadState=loaded\nActiveState=active\nSubState=exited\nResult=%s\nExecMainCode=1\nExecMainStatus=%d\nMainPID=0\n",
				map[bool]string{true: "success", false: "exit-code"}[u.code == 0], u.code)
		}
		return host.Result{Stdout: []byte(text)}, nil
	case strings.HasPrefix(line, "systemd-run"):
		u.started++
		u.state = host.UnitRunning
		return host.Result{}, nil
	case strings.HasPrefix(line, "systemctl stop"), strings.HasPrefix(line, "systemctl reset-failed"), strings.HasPrefix(line, "rm -f"):
		u.state = host.UnitAbsent
		return host.Result{}, nil
	case strings.Contains(line, "tail -n"):
		if argv[0] == "tail" && argv[2] == "+1" { // once it has ended, and once
			for _, l := range lines(u.log) {
				opts.Output(l)
			}
		}
		return host.Result{}, nil
	case argv[0] == "test":
		return host.Result{Code: 1}, nil
	case argv[0] == "install", argv[0] == "dpkg", argv[0] == "kubelet":
		return host.Result{Code: 0, Stdout: []byte("Kubernetes v1.36.3\n")}, nil
	case argv[0] == "dpkg-query":
		return host.Result{Stdout: []byte("kubeadm\t" + cmp.Or(u.kubeadm, "1.36.3-1.1") + "\tamd64\thold\tinstalled\nkubelet\t1.36.3-1.1\tamd64\thold\tinstalled\n")}, nil
	}
	return u.Machine.Exec(ctx, argv, opts)
}

func (u *units) end() {
	u.state = host.UnitEnded
	if len(u.results) > 0 {
		u.code, u.log = u.results[0].code, u.results[0].log
		u.results = u.results[1:]
	}
}

func worker() (Target, State) {
	s := State{
		Manager: Apt, looked: PartAll,
		Repositories: []Repository{{File: "/etc/apt/sources.list.d/kubernetes.list", Line: 2, URI: "https://pkgs.k8s.io/core:/stable:/v1.36/deb/", Minor: 36, text: "deb https://pkgs.k8s.io/core:/stable:/v1.36/deb/ /"}},
		Offers:       &Offers{Configured: offersOf("1.37.2-1.1")},
		Packages:     &Packages{Installed: []Package{{Name: PackageKubeadm, Version: "1.36.3-1.1", Held: true}, {Name: PackageKubelet, Version: "1.36.3-1.1", Held: true}}},
	}
	return Target{Run: "r1", Node: "node-1", Role: Worker, Version: skew.Version{Minor: 37, Patch: 2}}, s
}

func step(t *testing.T, target Target, s State, name StepName) Step {
	t.Helper()
	for _, step := range Steps(target, s) {
		if step.Name == name {
			return step
		}
	}
	t.Fatalf("there is no step %s", name)
	return Step{}
}

func TestTheRepositoryFileIsEdited(t *testing.T) {
	u := newUnits(t)
	target, s := worker()
	path := s.Repositories[0].File
	u.SetFile(path, "# mine\ndeb https://pkgs.k8s.io/core:/stable:/v1.36/deb/ /\n# end\n", 0o640)
	work := Work{Machine: u, Clock: clocktesting.NewFakeClock(time.Unix(0, 0))}
	for range 2 { // the second time nothing is left to do
		if err := step(t, target, s, StepRepository).Do(t.Context(), work, s); err != nil {
			// What was looked at is not there any more.
			var f *Failure
			if !errors.As(err, &f) || !strings.Contains(f.Cause, "changed by somebody else") {
				t.Fatal(err)
			}
		}
		got, _ := u.File(path)
		kept, _ := u.File(path + ".v1.36.save")
		if string(got.Data) != "# mine\ndeb https://pkgs.k8s.io/core:/stable:/v1.37/deb/ /\n# end\n" || got.Mode != 0o640 {
			t.Errorf("got %q, mode %v", got.Data, got.Mode)
		}
		if !strings.Contains(string(kept.Data), "v1.36") || kept.Mode != fs.FileMode(0o640) {
			t.Errorf("kept %q, mode %v", kept.Data, kept.Mode)
		}
	}
}

func TestAStepRunsAsAUnit(t *testing.T) {
	u := newUnits(t, outcome{0, "Setting up kubeadm"})
	target, s := worker()
	var heard []string
	work := Work{Machine: u, Clock: clocktesting.NewFakeClock(time.Unix(0, 0)), Output: func(line string) { heard = append(heard, line) }}
	if err := step(t, target, s, StepKubeadm).Do(t.Context(), work, s); err != nil {
		t.Fatal(err)
	}
	if u.started != 1 || !slices.Equal(heard, []string{"Setting up kubeadm"}) {
		t.Errorf("started %d times, heard %q", u.started, heard)
	}
	script, found := u.File("/run/refit/refit-r1-node-1-kubeadm-v1.37.2.sh")
	if !found || !strings.Contains(string(script.Data), "apt-mark hold kubeadm; exit $status") {
		t.Errorf("script %q", script.Data)
	}
}

func TestAHeldLockIsWaitedFor(t *testing.T) {
	locked := outcome{100, "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 77 (apt-get)"}
	u := newUnits(t, locked, locked, outcome{0, "done"})
	target, s := worker()
	clk := clocktesting.NewFakeClock(time.Unix(0, 0))
	done := make(chan error, 1)
	go func() {
		done <- step(t, target, s, StepLists).Do(t.Context(), Work{Machine: u, Clock: clk}, s)
	}()
	guard := time.After(time.Minute)
	for {
		select {
		case err := <-done:
			if err != nil || u.started != 3 {
				t.Errorf("%d attempts, %v", u.started, err)
			}
			return
		case <-guard:
			t.Fatal("the step hangs")
		case <-time.After(time.Millisecond):
			if clk.HasWaiters() {
				clk.Step(lockRetry)
			}
		}
	}
}

func TestAFailureTellsTheStateAndWhatToDo(t *testing.T) {
	u := newUnits(t, outcome{1, "[upgrade/preflight] Running pre-flight checks\n\t[ERROR ContainerRuntimeVersion]: could not connect to the container runtime\n[preflight] If you know what you are doing, you can make a check non-fatal with `--ignore-preflight-errors=...`\nerror: preflight checks failed"})
	target, s := worker()
	err := step(t, target, s, StepUpgrade).Do(t.Context(), Work{Machine: u, Clock: clocktesting.NewFakeClock(time.Unix(0, 0))}, s)
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v", err)
	}
	if f.Kind != KindPreflight || len(f.Preflight) != 1 || !strings.Contains(err.Error(), "package kubelet 1.36.3-1.1, no running kubelet") || hint.Of(err) == "" || len(f.Output) == 0 {
		t.Errorf("got %+v: %v; hint %q", f, err, hint.Of(err))
	}
}

func TestAnUnfinishedUnitIsAttachedTo(t *testing.T) {
	target, s := worker()
	upgrade := step(t, target, s, StepUpgrade)
	for name, c := range map[string]struct {
		state   host.UnitState
		code    int
		started int
	}{
		"it still runs":         {host.UnitRunning, 0, 0},
		"it got through":        {host.UnitEnded, 0, 0},
		"it had failed":         {host.UnitEnded, 1, 1},
		"the host was rebooted": {host.UnitAbsent, 0, 1},
	} {
		u := newUnits(t, outcome{0, "ok"})
		u.state, u.code = c.state, c.code
		actions, err := upgrade.Actions(s)
		if err != nil {
			t.Fatal(err)
		}
		u.SetFile("/run/refit/"+actions[0].Unit+".sh", "#!/bin/sh\n# Written by refit: "+actions[0].Unit+".\nexec "+
			host.Quote("/usr/bin/env", "--", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "kubeadm", "upgrade", "node")+"\n", 0o600)
		if err := upgrade.Do(t.Context(), Work{Machine: u, Clock: clocktesting.NewFakeClock(time.Unix(0, 0))}, s); err != nil || u.started != c.started {
			t.Errorf("%s: started %d times, %v", name, u.started, err)
		}
	}
}

// The command of a killed process changes what the next one makes its command from: it is
// waited for all the same, and then the host is looked at.
func TestAnEarlierAttemptWithAnotherCommandIsWaitedFor(t *testing.T) {
	target, s := worker()
	s.Packages.Broken = []string{"kubelet"} // dpkg is at it: the command would begin with dpkg --configure
	install := step(t, target, s, StepKubeadm)
	for name, c := range map[string]struct {
		installed string
		started   int
	}{
		"it did what was to be done": {"1.37.2-1.1", 0},
		"it did not":                 {"1.36.3-1.1", 1},
	} {
		u := newUnits(t, outcome{0, "unpacking"})
		u.kubeadm, u.state = c.installed, host.UnitRunning
		u.SetFile("/run/refit/refit-r1-node-1-kubeadm-v1.37.2.sh", "#!/bin/sh\n# Written by refit.\nexec apt-get install\n", 0o600)
		var lines []string
		work := Work{Machine: u, Clock: clocktesting.NewFakeClock(time.Unix(0, 0)), Output: func(line string) { lines = append(lines, line) }}
		if err := install.Do(t.Context(), work, s); err != nil || u.started != c.started || !slices.Contains(lines, "unpacking") {
			t.Errorf("%s: started %d times, %q, %v", name, u.started, lines, err)
		}
	}
}

func TestAnEndOfTheContextLeavesTheUnitAlone(t *testing.T) {
	u := newUnits(t)
	target, s := worker()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("the operator pressed Ctrl-C")
	cancel(stop)
	err := step(t, target, s, StepUpgrade).Do(ctx, Work{Machine: stopped{u, stop}, Clock: clocktesting.NewFakeClock(time.Unix(0, 0))}, s)
	if !errors.Is(err, stop) || u.started != 0 {
		t.Errorf("started %d times, %v", u.started, err)
	}
}

// stopped is a machine whose caller has gone.
type stopped struct {
	*units
	err error
}

func (s stopped) Exec(context.Context, []string, host.ExecOptions) (host.Result, error) {
	return host.Result{}, fmt.Errorf("%w: %w", host.ErrNotStarted, s.err)
}
