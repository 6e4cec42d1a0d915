// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/lab"
)

// What is upgraded: a lab of this many workers, from the first of its versions to the last.
const (
	upgradeWorkers = 4
	upgradeShare   = "2" // how many workers refit may have out at once
)

// upgraded is how long an upgrade took, of that the time until the control plane was done, and
// of that what kubeadm took to upgrade it.
type upgraded struct{ wall, controlPlane, kubeadm time.Duration }

// applying is what both call the step in which kubeadm upgrades the control plane.
const applying = "kubeadm upgrade apply"

func (u upgraded) workers() time.Duration { return u.wall - u.controlPlane }

// upgradePair is one round.
type upgradePair struct{ refit, hand upgraded }

// upgradeLab upgrades a kubeadm cluster of real machines by refit, and another one of the
// same kind by hand: the documented steps, one machine after the other.
func upgradeLab(ctx context.Context, b *bench) (section, error) {
	why, err := lab.Check()
	if err != nil {
		return section{}, err
	}
	if len(why) > 0 {
		return section{}, &unfitError{strings.Join(why, "; ")}
	}
	var rounds []upgradePair
	for i := range b.longRounds {
		var p upgradePair
		work := []func() error{
			func() (err error) { p.hand, err = b.onLab(ctx, b.upgradeByHand); return err },
			func() (err error) { p.refit, err = b.onLab(ctx, b.upgradeByRefit); return err },
		}
		if i%2 == 1 {
			work[0], work[1] = work[1], work[0]
		}
		for _, f := range work {
			if err := f(); err != nil {
				return section{}, err
			}
		}
		b.logf("refit %s, by hand %s: %.3f", p.refit.wall.Round(time.Second), p.hand.wall.Round(time.Second), p.refit.wall.Seconds()/p.hand.wall.Seconds())
		rounds = append(rounds, p)
	}
	line := func(what, goal string, of func(upgraded) time.Duration) []string {
		refit := spreadOver(rounds, func(p upgradePair) float64 { return of(p.refit).Seconds() })
		hand := spreadOver(rounds, func(p upgradePair) float64 { return of(p.hand).Seconds() })
		ratio := spreadOver(rounds, func(p upgradePair) float64 { return of(p.refit).Seconds() / of(p.hand).Seconds() })
		return []string{what, refit.seconds(), hand.seconds(), ratio.ratio(), goal}
	}
	versions := lab.Versions()
	return section{
		title: fmt.Sprintf("A kubeadm cluster with %d workers upgraded from %s to %s", upgradeWorkers, versions[0], versions[len(versions)-1]),
		about: fmt.Sprintf("Real machines, in containers: systemd, SSH, apt, containerd, kubelets, and one control plane with etcd. A Deployment with a pod on each worker, "+
			"under a budget of half of them. refit: `refit upgrade apply --max-unavailable %s`. By hand: `lab/byhand.sh`, the documented steps one machine after the other, "+
			"without anybody who has to type them or to look at what came of them.", upgradeShare),
		tables: []table{{
			columns: []string{"", "refit", "by hand", "ratio", "goal"},
			lines: [][]string{
				line("wall time", "at most 0.700", func(u upgraded) time.Duration { return u.wall }),
				line("the control plane, and what is fetched ahead", "", func(u upgraded) time.Duration { return u.controlPlane }),
				line("of that `"+applying+"`", "", func(u upgraded) time.Duration { return u.kubeadm }),
				line("the workers", "", upgraded.workers),
			},
		}},
		notes: []string{
			phrase.Count(b.longRounds, "round") + ", each on two fresh labs, which change places from round to round.",
			"kubeadm has the kubelet replace four static pods, one after the other, and most of that time nothing is computed: an API server takes all of its " +
				"30 s to end, because watches are open, and the kubelet waits 10 s and more before it starts what has ended. No program that calls kubeadm can be quicker.",
			"All machines share the processors of one: what refit looks at and fetches on five machines at the same time takes longer here than on five.",
		},
	}, nil
}

// unfitError says why this machine cannot run a benchmark.
type unfitError struct{ why string }

func (e *unfitError) Error() string { return "this machine cannot carry a lab: " + e.why }

// onLab brings up a lab for one upgrade, and removes it.
func (b *bench) onLab(ctx context.Context, upgrade func(context.Context, *lab.Lab, string) (upgraded, error)) (u upgraded, err error) {
	options := lab.Options{Name: "bench", Workers: upgradeWorkers}
	progress := func(line string) { b.logf("%s", line) }
	defer func() { err = errors.Join(err, lab.Down(context.WithoutCancel(ctx), options.Name, progress)) }()
	l, err := lab.Up(ctx, options, progress)
	if err != nil {
		return upgraded{}, err
	}
	versions := lab.Versions()
	return upgrade(ctx, l, "v"+versions[len(versions)-1])
}

func (b *bench) upgradeByRefit(ctx context.Context, l *lab.Lab, version string) (upgraded, error) {
	argv := []string{
		filepath.Join(b.bin, "refit"), "--kubeconfig", l.Kubeconfig(), "upgrade", "apply", "--to", version, "--yes",
		"--max-unavailable", upgradeShare, "--ssh-config", l.SSHConfig(), "--output", "json",
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil { // version 1, which kubeadm has something against
		argv = append(argv, "--ignore-preflight-errors", "SystemVerification")
	}
	begun := time.Now()
	out, err := output(ctx, argv, "REFIT_STATE_DIR="+b.state)
	if err != nil {
		return upgraded{}, err
	}
	u := upgraded{wall: time.Since(begun)}
	var applied time.Time // since when kubeadm upgrades the control plane
	for events := json.NewDecoder(bytes.NewReader(out)); events.More(); {
		var e event.Event
		if err := events.Decode(&e); err != nil {
			return upgraded{}, fmt.Errorf("read refit's events: %w", err)
		}
		switch {
		case e.Type == event.NodePhase && strings.Contains(e.Message, applying):
			applied = e.Time
		case e.Type == event.NodePhase && u.kubeadm == 0 && !applied.IsZero():
			u.kubeadm = e.Time.Sub(applied)
		case e.Type == event.StageDone && u.controlPlane == 0: // its stage is the first
			u.controlPlane = e.Time.Sub(begun)
		}
	}
	return u, nil
}

func (b *bench) upgradeByHand(ctx context.Context, l *lab.Lab, version string) (upgraded, error) {
	begun := time.Now()
	out, err := output(ctx, []string{"lab/byhand.sh", filepath.Dir(l.Kubeconfig()), version})
	if err != nil {
		return upgraded{}, err
	}
	u := upgraded{wall: time.Since(begun)}
	for line := range strings.Lines(string(out)) { // node, step, seconds, s
		f := strings.Fields(line)
		if len(f) < 4 || f[0] != l.Machines()[0].Name {
			continue
		}
		seconds, err := strconv.ParseFloat(f[len(f)-2], 64)
		if err != nil {
			return upgraded{}, fmt.Errorf("lab/byhand.sh: %q: %w", line, err)
		}
		took := time.Duration(seconds * float64(time.Second))
		u.controlPlane += took
		if strings.Contains(line, applying) {
			u.kubeadm = took
		}
	}
	b.logf("by hand:\n%s", out)
	return u, nil
}
