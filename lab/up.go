// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"refit.dev/refit/internal/hint"
)

// Up brings a lab up and returns when it has proved that it works: its nodes are
// Ready, and a Service answers from its workers.
//
// A lab of the name with the same options is started again where it does not
// run. What another Up left half-made is carried on with: workers that have not
// joined are made anew, and so is everything if the control plane is not whole.
// With other options it is an error, and nothing is changed.
func Up(ctx context.Context, opts Options, progress Progress) (*Lab, error) {
	o, err := opts.complete()
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	l, err := read(o.Name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if l != nil && l.record.Options != o {
		return nil, hint.Wrap(fmt.Errorf("lab %s exists with other options: %s", o.Name, l.record.Options), "remove it with `make lab-down`, or use another name")
	}
	if err := raiseLimits("/proc/sys", progress); err != nil {
		return nil, err
	}
	e, err := startEngine(ctx, progress)
	if err != nil {
		return nil, err
	}
	c, err := openCache(ctx, progress)
	if err != nil {
		return nil, err
	}
	made, err := makeAll(ctx, c, e)
	if err != nil {
		return nil, err
	}
	if l == nil {
		if l, err = plan(o); err != nil {
			return nil, err
		}
	}
	l.engine = e
	if err := l.up(ctx, made, progress); err != nil {
		return nil, fmt.Errorf("lab %s: %w", o.Name, err)
	}
	inUse, err := used()
	if err != nil {
		return nil, err
	}
	if err := c.prune(inUse); err != nil {
		return nil, err
	}
	return l, nil
}

// plan gives a new lab a directory and a network that nothing here uses.
func plan(o Options) (*Lab, error) {
	dir, err := labDir(o.Name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	used, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("look for a free network: %w", err)
	}
	taken := func(p netip.Prefix) bool {
		for _, a := range used {
			if other, err := netip.ParsePrefix(a.String()); err == nil && other.Overlaps(p) {
				return true
			}
		}
		return false
	}
	for i := range 256 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, byte(i), 0}), 24)
		if !taken(p) {
			l := &Lab{dir: dir, record: record{Options: o, Subnet: p}}
			if err := l.write(); err != nil {
				return nil, err
			}
			return l, nil
		}
	}
	return nil, fmt.Errorf("no network is free for a lab in 10.213.0.0/16")
}

func (l *Lab) up(ctx context.Context, made made, progress Progress) error {
	keys, err := l.writeKeys()
	if err != nil {
		return err
	}
	if err := l.use(made); err != nil {
		return err
	}
	if l.record.Options.Flavour == Scratch {
		if err := l.writeReleases(made); err != nil {
			return fmt.Errorf("write the releases: %w", err)
		}
	}
	if err := l.makeNetwork(ctx); err != nil {
		return err
	}
	if err := l.startStore(ctx, made); err != nil {
		return err
	}
	if err := l.clean(ctx, progress); err != nil {
		return err
	}
	progress.say("starting %d machines", len(l.Machines()))
	g, gctx := errgroup.WithContext(ctx)
	for _, m := range l.Machines() {
		g.Go(func() error { return l.bring(gctx, m, made, keys) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := l.cluster(ctx, made, progress); err != nil {
		return err
	}
	return l.prove(ctx, progress)
}

// makeNetwork makes the bridge of the lab, if it is not there.
func (l *Lab) makeNetwork(ctx context.Context) error {
	have, err := l.engine.docker(ctx, nil, "network", "ls", "--quiet", "--filter", "name=^"+l.network()+"$")
	if err != nil || have != "" {
		return err
	}
	_, err = l.engine.docker(ctx, nil, "network", "create", "--label", label(l.Name()), "--subnet", l.record.Subnet.String(), l.network())
	if err != nil {
		return fmt.Errorf("make the network %s: %w", l.record.Subnet, err)
	}
	return nil
}

// startStore starts the store of packages and images. One that serves something
// older is replaced.
func (l *Lab) startStore(ctx context.Context, made made) error {
	if err := os.MkdirAll(l.path("hidden"), 0o755); err != nil {
		return err
	}
	name := l.container("store")
	serves := "dev.refit.lab.store=" + filepath.Base(made.content) + "." + filepath.Base(made.programs["inside"])
	have, err := l.engine.docker(ctx, nil, "ps", "--quiet", "--filter", "name=^"+name+"$", "--filter", "label="+serves)
	if err != nil || have != "" {
		return err
	}
	if _, err := l.engine.docker(ctx, nil, "rm", "--force", "--volumes", name); err != nil && !strings.Contains(err.Error(), "No such container") {
		return err
	}
	_, err = l.engine.docker(ctx, nil, "run", "--detach", "--name", name, "--label", label(l.Name()), "--label", serves, "--restart", "unless-stopped",
		"--stop-signal", "SIGTERM", "--network", l.network(), "--ip", l.storeAddress().String(),
		"--volume", made.programs["inside"]+":/inside:ro", "--volume", made.content+":/content:ro", "--volume", l.path("hidden")+":/hidden:ro",
		"--entrypoint", "/inside/inside", made.image, "store", "/content", "/hidden", ":80")
	if err != nil {
		return fmt.Errorf("start the store: %w", err)
	}
	return nil
}
