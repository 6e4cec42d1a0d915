// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/units"
	"refit.dev/refit/units/unitstest"
)

const (
	old, next = "v1.36.3", "v1.37.2"
	kubelet   = "/usr/local/bin/kubelet"
)

// staged is a machine on which a new binary of the kubelet waits.
func staged(t *testing.T, special ...string) (*unitstest.Machine, units.Raise) {
	t.Helper()
	m := unitstest.New(old, units.Kubelet, units.KubeProxy)
	text := unitstest.Binary(units.Kubelet, next, special...)
	b := units.Binary{Version: next, SHA256: unitstest.Sum(text)}
	s, err := units.Observe(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := s.Get(units.Kubelet)
	if err := units.Stage(t.Context(), m, u, b, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }); err != nil {
		t.Fatal(err)
	}
	if there, err := units.Staged(t.Context(), m, u, b); err != nil || !there {
		t.Fatalf("staged: %t, %v", there, err)
	}
	return m, units.Raise{Machine: m, Clock: clock.RealClock{}, Component: units.Kubelet, Binary: b, Patience: time.Minute}
}

func TestRaise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := staged(t)
		if done, err := r.Done(t.Context()); done || err != nil {
			t.Fatalf("before: %t, %v", done, err)
		}
		if err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		if done, err := r.Done(t.Context()); !done || err != nil {
			t.Errorf("after: %t, %v", done, err)
		}
		raised(t, m)
		if has := m.Text(kubelet + ".before-" + next); has != unitstest.Binary(units.Kubelet, old) {
			t.Errorf("kept is %q", has)
		}
	})
}

// raised fails if the kubelet is not the new one, or what was sent is left beside it.
func raised(t *testing.T, m *unitstest.Machine) {
	t.Helper()
	want := unitstest.Binary(units.Kubelet, next)
	if m.Text(kubelet) != want || m.Running(units.Kubelet) != want {
		t.Errorf("in its place is %q, and %q runs", m.Text(kubelet), m.Running(units.Kubelet))
	}
	if slices.Contains(m.Files(), kubelet+"."+next) {
		t.Error("the staged file is left")
	}
}

// A binary that does not get well is taken back by itself; the one of before runs.
func TestRollback(t *testing.T) {
	for special, want := range map[string]string{"dies": "kubelet.service is activating (auto-restart)", "unwell": "/healthz says 500: something"} {
		t.Run(special, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := staged(t, special)
				begun := time.Now()
				back, rolled := errors.AsType[*units.RolledBackError](r.Do(t.Context()))
				if !rolled || back.Still != "" || !strings.Contains(back.Error(), want) {
					t.Fatalf("got %v, want %q", back, want)
				}
				if took := time.Since(begun); took < time.Minute || took > 2*time.Minute {
					t.Errorf("it took %s", took)
				}
				before := unitstest.Binary(units.Kubelet, old)
				if m.Text(kubelet) != before || m.Running(units.Kubelet) != before {
					t.Errorf("in its place is %q, and %q runs", m.Text(kubelet), m.Running(units.Kubelet))
				}
				if done, err := r.Done(t.Context()); done || err != nil {
					t.Errorf("afterwards: %t, %v", done, err)
				}
				// Whoever repeats it hears the same; who says so has it tried once more.
				started := 0
				m.Started = func(string, string) { started++ }
				again, rolled := errors.AsType[*units.RolledBackError](r.Do(t.Context()))
				if !rolled || again.Why != back.Why || started != 0 {
					t.Errorf("repeated: %+v, %d were started", again, started)
				}
				r.Again = true
				if _, rolled := errors.AsType[*units.RolledBackError](r.Do(t.Context())); !rolled || started != 2 {
					t.Errorf("tried again: %d were started", started)
				}
				if _, rolled := errors.AsType[*units.RolledBackError](r.Do(t.Context())); !rolled || started != 2 {
					t.Errorf("said once, and tried twice: %d were started", started)
				}
				r.Run = "another"
				if _, rolled := errors.AsType[*units.RolledBackError](r.Do(t.Context())); !rolled || started != 4 {
					t.Errorf("in another run: %d were started", started)
				}
			})
		})
	}
}

// Where the old one does not get well either, that is said.
func TestRollbackUnwell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := staged(t, "dies")
		m.After = func(argv []string) error {
			if argv[0] == "sh" && strings.Contains(argv[2], `"$3" "$1.refit"`) { // put into its place
				m.Write(kubelet+".before-"+next, unitstest.Binary(units.Kubelet, old, "dies"))
			}
			return nil
		}
		back, rolled := errors.AsType[*units.RolledBackError](r.Do(t.Context()))
		if !rolled || !strings.Contains(back.Error(), "which is not well either: kubelet.service is activating") {
			t.Fatalf("got %v", back)
		}
	})
}

// errDead is what is heard of a machine after a kill: nothing.
var errDead = unreachable{}

type unreachable struct{}

func (unreachable) Error() string    { return "killed" }
func (unreachable) OutOfReach() bool { return true }

// killed runs a Raise that hears of nothing more once so many commands have run; 0 is never.
func killed(t *testing.T, at int, special ...string) (m *unitstest.Machine, r units.Raise, commands int) {
	m, r = staged(t, special...)
	m.Before = func([]string) error {
		if at > 0 && commands >= at {
			return errDead
		}
		return nil
	}
	m.After = func([]string) error {
		commands++
		if at > 0 && commands >= at {
			return errDead // it ran, and nobody hears of it
		}
		return nil
	}
	m.Started = func(_, binary string) {
		if text := m.Text(kubelet); text != binary && binary != "" {
			t.Errorf("%q was started, and %q is in its place", binary, text)
		}
	}
	err := r.Do(t.Context())
	if at > 0 && !errors.Is(err, errDead) {
		t.Errorf("killed at %d: %v", at, err)
	}
	for _, text := range []string{m.Text(kubelet)} {
		if text != unitstest.Binary(units.Kubelet, old) && text != unitstest.Binary(units.Kubelet, next, special...) {
			t.Errorf("killed at %d, in its place is %q", at, text)
		}
	}
	m.Before, m.After = nil, nil
	return m, r, commands
}

// Whoever repeats a Raise that was killed after any of its commands carries on, to the same end.
func TestRaiseKilled(t *testing.T) {
	for _, special := range [][]string{nil, {"dies"}} {
		commands := 0
		synctest.Test(t, func(t *testing.T) { _, _, commands = killed(t, 0, special...) })
		if commands < 5 {
			t.Fatalf("%d commands", commands)
		}
		for at := 1; at < commands; at++ {
			t.Run(fmt.Sprintf("%v after %d", special, at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, r, _ := killed(t, at, special...)
					refused, started := m.Text(kubelet+".refused-"+next) != "", 0
					m.Started = func(_, _ string) {
						if strings.Contains(m.Text(kubelet), next) {
							started++
						}
					}
					err := r.Do(t.Context())
					if refused && started > 0 {
						t.Error("what was rolled back was started again")
					}
					if special == nil {
						if err != nil {
							t.Fatal(err)
						}
						raised(t, m)
						return
					}
					if back, rolled := errors.AsType[*units.RolledBackError](err); !rolled || back.Still != "" {
						t.Errorf("got %v", err)
					}
					if has := m.Running(units.Kubelet); has != unitstest.Binary(units.Kubelet, old) {
						t.Errorf("%q runs", has)
					}
				})
			})
		}
	}
}

// The end of the context ends the wait.
func TestRaiseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := staged(t, "dies")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errDead)
		defer cancel()
		if err := r.Do(ctx); !errors.Is(err, errDead) {
			t.Errorf("got %v", err)
		}
	})
}

// failing has a machine fail at commands that contain a text, as often as is said, once the new
// binary is in its place.
func failing(m *unitstest.Machine, text string, times int) {
	placed := false
	m.Before = func(argv []string) error {
		command := strings.Join(argv, " ")
		placed = placed || strings.Contains(command, "systemctl restart")
		if !placed || !strings.Contains(command, text) || times == 0 {
			return nil
		}
		times--
		return errors.New("fork: resource temporarily unavailable")
	}
}

// One look that fails ends nothing. If looks go on failing, the binary is taken back; how the one
// of before is cannot be known then, and is not claimed.
func TestRaiseFailingLooks(t *testing.T) {
	for name, c := range map[string]struct {
		times   int
		special []string
		rolled  bool
		want    string
	}{
		"once, and well":      {1, nil, false, ""},
		"once, and not well":  {1, []string{"dies"}, true, "kubelet.service is activating (auto-restart)"},
		"until it is back":    {31, nil, true, "resource temporarily unavailable"},
		"for ever":            {-1, nil, true, "which is not well either: ask systemd for kubelet.service"},
		"for ever, not well":  {-1, []string{"dies"}, true, "which is not well either: ask systemd for kubelet.service"},
		"not once, as a test": {0, []string{"unwell"}, true, "/healthz says 500"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := staged(t, c.special...)
				failing(m, "systemctl show", c.times)
				err := r.Do(t.Context())
				_, rolled := errors.AsType[*units.RolledBackError](err)
				if rolled != c.rolled || rolled && !strings.Contains(err.Error(), c.want) || !rolled && err != nil {
					t.Fatalf("got %v", err)
				}
				want := old
				if !c.rolled {
					want = next
				}
				if !strings.HasPrefix(m.Text(kubelet), "kubelet "+want) {
					t.Errorf("in its place is %q", m.Text(kubelet))
				}
			})
		})
	}
}

// Where rolling back fails, it is said what is in its place and where the one of before is.
func TestRaiseNotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := staged(t, "dies")
		failing(m, `"$2" "$1.refit"`, -1)
		e, left := errors.AsType[*units.NotBackError](r.Do(t.Context()))
		if !left || e.Program != kubelet || e.Kept != kubelet+".before-"+next || m.Text(e.Kept) != unitstest.Binary(units.Kubelet, old) || !strings.Contains(e.Error(), "could not be rolled back: put the kubelet of before") {
			t.Errorf("got %+v", e)
		}
	})
}

// A machine that is out of reach while it rolls back is looked at again: what is known is said.
func TestRaiseLostWhileGoingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := staged(t, "dies")
		back := false
		m.After = func(argv []string) error {
			if back = back || strings.Contains(strings.Join(argv, " "), `"$2" "$1.refit"`); back {
				return errDead
			}
			return nil
		}
		if err := r.Do(t.Context()); !host.Temporary(err) || !strings.Contains(err.Error(), "is not well (kubelet.service is activating") {
			t.Fatalf("got %v", err)
		}
		m.After = nil
		if e, rolled := errors.AsType[*units.RolledBackError](r.Do(t.Context())); !rolled || e.Still != "" {
			t.Errorf("then: %v", e)
		}
	})
}

// Somebody else is asked too, once the component says that it is well.
func TestRaiseAsksMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := staged(t)
		asked := 0
		r.Healthy = func(context.Context) (string, error) {
			asked++
			if strings.Contains(m.Running(units.Kubelet), next) {
				return "its Node is not Ready", nil
			}
			return "", nil
		}
		if e, rolled := errors.AsType[*units.RolledBackError](r.Do(t.Context())); !rolled || e.Why != "its Node is not Ready" || e.Still != "" || asked < 10 {
			t.Errorf("got %v, asked %d times", e, asked)
		}
	})
}

// A Raise that was killed right after the restart is not done before the process has been the
// same for a while, and what was sent is gone.
func TestDoneIsCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := staged(t)
		m.After = func(argv []string) error {
			if argv[0] == "systemctl" && argv[1] == "restart" {
				return errDead
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Do(ctx); err == nil {
			t.Fatal("not killed")
		}
		m.After = nil
		if done, err := r.Done(t.Context()); done || err != nil {
			t.Errorf("right after the restart: %t, %v", done, err)
		}
		begun := time.Now()
		if err := r.Do(t.Context()); err != nil || time.Since(begun) < 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		raised(t, m)
		if done, err := r.Done(t.Context()); !done || err != nil {
			t.Errorf("in the end: %t, %v", done, err)
		}
	})
}

// ending is a machine whose processes take their time to end: systemd says that they are about to.
type ending struct {
	*unitstest.Machine
	takes time.Duration
	until time.Time
}

func (m *ending) Exec(ctx context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	result, err := m.Machine.Exec(ctx, argv, opts)
	switch {
	case argv[0] == "systemctl" && argv[1] == "restart":
		m.until = time.Now().Add(m.takes)
	case argv[0] == "systemctl" && argv[1] == "show" && time.Now().Before(m.until):
		result.Stdout = []byte(strings.NewReplacer("ActiveState=active", "ActiveState=deactivating", "SubState=running", "SubState=stop-sigterm").Replace(string(result.Stdout)))
	}
	return result, err
}

// A process of before that takes its time to end does not count against the new one, within a
// limit.
func TestRaiseWaitsForTheEnd(t *testing.T) {
	for takes, want := range map[time.Duration]string{
		2*time.Minute + 30*time.Second: "",
		5 * time.Minute:                "kubelet.service is deactivating (stop-sigterm)",
	} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := staged(t)
				r.Machine = &ending{Machine: m, takes: takes}
				err := r.Do(t.Context())
				if back, rolled := errors.AsType[*units.RolledBackError](err); rolled != (want != "") || rolled && back.Why != want || !rolled && err != nil {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
