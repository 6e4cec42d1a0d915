// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/twin/scenario"
)

// Progress is told what happens, a line of text at a time; it may be nil.
type Progress func(line string)

func (p Progress) say(format string, args ...any) {
	if p != nil {
		p(fmt.Sprintf(format, args...))
	}
}

// Up brings a twin up and returns when its nodes are Ready and its scenario is
// applied (and, with Options.Wait, its workloads are Ready).
//
// A twin of the name that was made with the same options is returned as it is;
// if its processes are gone, they are started again on its data. With other
// options it is an error: nothing is changed. What another Up left half-made
// is removed and made anew. If Up fails, what it made itself is removed again.
// The error wraps ErrInvalid if the options are at fault: nothing was touched.
func Up(ctx context.Context, opts Options, progress Progress) (*Twin, error) {
	o, sc, err := opts.complete()
	if err != nil {
		return nil, invalidError{err}
	}
	bin, err := binary()
	if err != nil {
		return nil, err
	}
	root, err := rootDir(o.StateDir)
	if err != nil {
		return nil, err
	}
	t := newTwin(root, o.Name)
	t.tied = o.Tied
	unlock, err := t.lockName(ctx, progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	rec, err := t.readRecord()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = t.create(ctx, bin, o, sc, progress)
	case err != nil:
		return nil, err
	default:
		err = t.resume(ctx, bin, rec, o, progress)
	}
	if err != nil {
		return nil, fmt.Errorf("twin %s: %w", o.Name, err)
	}
	if o.Wait && sc != nil {
		cfg, err := t.RESTConfig()
		if err != nil {
			return nil, err
		}
		progress.say("waiting for the workloads of %s", sc.Name)
		if err := sc.AwaitReady(ctx, cfg); err != nil {
			return nil, fmt.Errorf("twin %s: %w", o.Name, err)
		}
	}
	return t, nil
}

// create makes the twin from nothing; on failure nothing is left of it.
func (t *Twin) create(ctx context.Context, bin string, o Options, sc *scenario.Scenario, progress Progress) (err error) {
	if _, statErr := os.Stat(t.dir); statErr == nil {
		progress.say("removing what an earlier attempt left of twin %s", t.name)
		if err := t.destroy(ctx); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.destroy(ctx))
		}
	}()
	for _, dir := range []string{"", "pki", "logs", "audit"} {
		if err := os.MkdirAll(t.path(dir), 0o700); err != nil {
			return fmt.Errorf("make its directory: %w", err)
		}
	}
	now := time.Now()
	if err := writeCertificates(t.path("pki"), now); err != nil {
		return err
	}
	progress.say("starting Kubernetes %s", releaseOf(o.Kubernetes).Kubelet)
	p, err := t.start(ctx, bin, o, ports{}, nil)
	if err != nil {
		return err
	}
	cfg, err := t.bootstrapConfig(p.API, now)
	if err != nil {
		return err
	}
	progress.say("adding %d nodes in %s", o.Nodes, phrase.Count(o.Zones, "zone"))
	if err := t.populate(ctx, cfg, o, p); err != nil {
		return err
	}
	if sc != nil {
		progress.say("applying %s", sc.Name)
		if err := sc.Apply(ctx, cfg); err != nil {
			return err
		}
	}
	return writeJSON(t.path("record.json"), record{Options: o, Ports: p, Created: now.UTC()})
}

// resume makes sure that a twin that exists is the one that is wanted and runs.
func (t *Twin) resume(ctx context.Context, bin string, rec *record, want Options, progress Progress) error {
	if diff := differences(rec.Options, want); len(diff) > 0 {
		return hint.Wrap(invalidError{fmt.Errorf("it exists with other options: %s", strings.Join(diff, ", "))},
			"give the same options, another --name, or remove it first with `refit twin down --name %s`", t.name)
	}
	for {
		err := t.join(ctx, bin, rec, want, progress)
		if !errors.Is(err, errEnded) {
			return err
		}
		// It was being ended when it was found: now it has to be started.
	}
}

// join waits until the twin is up, and starts it before if it does not run.
func (t *Twin) join(ctx context.Context, bin string, rec *record, want Options, progress Progress) error {
	if err := t.restored(); err != nil {
		return err
	}
	pid, err := t.settledPID(ctx, func() {
		progress.say("waiting: a supervisor of twin %s is starting, or processes that one left are ending", t.name)
	})
	if err != nil {
		return err
	}
	if pid == 0 {
		progress.say("starting twin %s again on its data", t.name)
		p, err := t.start(ctx, bin, want, rec.Ports, nil)
		if err != nil {
			return err
		}
		if p != rec.Ports {
			rec.Ports = p
			if err := writeJSON(t.path("record.json"), rec); err != nil {
				return err
			}
		}
	} else {
		progress.say("twin %s runs already: waiting until it is ready", t.name)
	}
	cfg, err := t.RESTConfig()
	if err != nil {
		return err
	}
	if err := t.awaitReady(ctx, cfg); err != nil {
		return err
	}
	ctx, stop := t.watchOver(ctx)
	defer stop()
	return awaitNodes(ctx, cfg, 0) // a user may have removed some
}

// start writes the configuration and starts the processes, listening at the
// ports that were used before if they are free. It returns when the API server is ready.
// What is started are the components only, or with nil all of them.
func (t *Twin) start(ctx context.Context, bin string, o Options, before ports, only []string) (ports, error) {
	for attempt := 1; ; attempt++ {
		p := before
		if attempt > 1 || p == (ports{}) || !p.free() {
			var err error
			if p, err = choosePorts(); err != nil {
				return p, err
			}
		}
		err := t.startOnly(ctx, bin, o, p, only)
		if err == nil {
			return p, nil
		}
		if stopErr := t.stop(ctx); stopErr != nil {
			return p, errors.Join(err, stopErr)
		}
		if !errors.Is(err, errPortTaken) || attempt == portAttempts {
			return p, err
		}
	}
}

func (t *Twin) startAt(ctx context.Context, bin string, o Options, p ports) error {
	return t.startOnly(ctx, bin, o, p, nil)
}

// startOnly starts some components, or with nil all of them, and waits until they are ready.
func (t *Twin) startOnly(ctx context.Context, bin string, o Options, p ports, only []string) error {
	if err := t.writeKubeconfigs(p.API); err != nil {
		return err
	}
	if err := t.writeConfigs(o, p, only); err != nil {
		return err
	}
	// An old status or log must not be taken for that of the new processes.
	for _, old := range []string{"status.json", "logs"} {
		if err := os.RemoveAll(t.path(old)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(t.path("logs"), 0o700); err != nil {
		return err
	}
	// Nor an old process id for that of the new supervisor, which locks the file
	// before it writes to it.
	if err := os.Truncate(t.path("supervisor.lock"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := t.spawn(ctx, bin, o.Tied); err != nil {
		return err
	}
	if only != nil && !slices.Contains(only, "kube-apiserver") {
		return t.awaitChildren(ctx, func(context.Context) bool { return true })
	}
	cfg, err := t.bootstrapConfig(p.API, time.Now())
	if err != nil {
		return err
	}
	return t.awaitReady(ctx, cfg)
}
