// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// parkDir holds what a restore puts out of the kubelet's sight, and the file that says
// which run did. It is beside the directory of the manifests, on one file system with it.
const parkDir = "/etc/kubernetes/refit-restore"

// Time limits. A kubelet looks at its manifests every 20 seconds (fileCheckFrequency) and
// gives a static pod 30 seconds to end; the first start of etcd on a restored database
// may have to read all of it.
const (
	stopLimit  = 3 * time.Minute
	startLimit = 5 * time.Minute
	lookEvery  = time.Second
)

// apiGrace is how long an API server has to end by itself, before it is ended: it waits for
// clients that watch, and holds nothing that could be lost.
const apiGrace = 3 * time.Second

// errNotYet says that what was waited for has not happened.
var errNotYet = errors.New("even after the time")

// machine is one machine of the control plane with its member.
type machine struct {
	files
	control
	member run.Member
	data   dataDir
	park   string
	clock  clock.WithTicker
}

func (o *Operator) machine(m host.Machine, member run.Member, spec *run.Spec) *machine {
	target := spec.Restore.DataDir
	if target == "" {
		target = member.DataDir
	}
	f := files{m}
	return &machine{
		files: f, member: member, clock: o.Clock, control: o.control(m, member), park: o.park(member),
		data: dataDir{files: f, run: spec.Run, now: member.DataDir, target: target},
	}
}

func (o *Operator) control(m host.Machine, member run.Member) control {
	switch {
	case o.controls != nil:
		return o.controls(m, member)
	case member.Method == run.Embedded:
		return embedded{o.Twin}
	}
	return newControl(m, member)
}

func (o *Operator) park(member run.Member) string {
	switch {
	case o.parks != nil:
		return o.parks(member)
	case member.Method == run.Embedded:
		return o.Twin.RestoreDir()
	}
	return parkDir
}

// claim writes on the machine which run restores it, so that no other one does. The name
// appears with its content, and only if there is none.
func (m *machine) claim(ctx context.Context, id string) error {
	if err := m.do(ctx, "install", "--directory", "--mode=0700", m.park); err != nil {
		return err
	}
	file := path.Join(m.park, "run")
	other, err := m.claimed(ctx)
	if err != nil || other == id {
		return err
	}
	if other == "" {
		own := file + "." + id
		if err := m.m.WriteFile(ctx, own, []byte(id+"\n"), 0o600); err != nil {
			return err
		}
		linked := m.do(ctx, "ln", "--no-target-directory", own, file) // fails if somebody was quicker
		if other, err = m.claimed(ctx); err != nil {
			return err
		}
		if err := m.do(ctx, "rm", "--force", "--", own); err != nil {
			return err
		}
		switch other {
		case id:
			return nil
		case "":
			return fmt.Errorf("claim the machine: %w", linked)
		}
	}
	return hint.Wrap(fmt.Errorf("run %s has begun to restore this machine, and was neither finished nor aborted", other),
		"refit runs resume %s, or refit runs abort %s, where it was begun", other, other)
}

// claimed is the run that has claimed the machine, or "".
func (m *machine) claimed(ctx context.Context) (string, error) {
	text, err := m.m.ReadFile(ctx, path.Join(m.park, "run"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// disclaim takes back what claim wrote; what another run wrote is left alone.
func (m *machine) disclaim(ctx context.Context, id string) error {
	holder, err := m.claimed(ctx)
	if err != nil || holder != id {
		return err
	}
	if err := m.do(ctx, "rm", "--force", "--", path.Join(m.park, "run")); err != nil {
		return err
	}
	return m.do(ctx, "rmdir", "--ignore-fail-on-non-empty", m.park)
}

// stopAll stops those of components that the machine has and waits until they are gone.
func (m *machine) stopAll(ctx context.Context, components ...string) error {
	asked, err := m.each(ctx, m.stop, components)
	if err != nil {
		return err
	}
	if slices.Contains(asked, apiServer) {
		err := m.await(ctx, apiGrace, false, apiServer)
		if errors.Is(err, errNotYet) {
			err = m.end(ctx, apiServer)
		}
		if err != nil {
			return err
		}
	}
	return m.await(ctx, stopLimit, false, asked...)
}

// startAll starts those of components that the machine has and waits until they run.
func (m *machine) startAll(ctx context.Context, components ...string) error {
	asked, err := m.each(ctx, m.start, components)
	if err != nil {
		return err
	}
	return m.await(ctx, startLimit, true, asked...)
}

// each does something with those of components that the machine has.
func (m *machine) each(ctx context.Context, do func(context.Context, string) error, components []string) (found []string, err error) {
	for _, c := range components {
		there, err := m.has(ctx, c)
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		if err := do(ctx, c); err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, nil
}

// await looks at what runs until all of components do, or none.
func (m *machine) await(ctx context.Context, limit time.Duration, run bool, components ...string) error {
	deadline := m.clock.Now().Add(limit)
	for {
		running, err := m.running(ctx)
		if err != nil && !host.Temporary(err) {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(components), func(c string) bool { return running[c] == run })
		if err == nil && len(left) == 0 {
			return nil
		}
		if m.clock.Now().After(deadline) {
			if err != nil {
				return err
			}
			what := "still running"
			if run {
				what = "not running"
			}
			return hint.Wrap(fmt.Errorf("%s %w of %s: %s", what, errNotYet, limit, strings.Join(left, ", ")),
				"see what the kubelet, or systemd, says about it on the machine (journalctl -u kubelet), then resume the run")
		}
		if err := pause(ctx, m.clock); err != nil {
			return err
		}
	}
}

// pause waits a moment, until something may be looked at again.
func pause(ctx context.Context, clk clock.WithTicker) error {
	timer := clk.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
