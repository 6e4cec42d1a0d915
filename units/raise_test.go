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

var errDead = errors.New("killed")

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
					err := r.Do(t.Context())
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
