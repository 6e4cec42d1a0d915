// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"refit.dev/refit/twin"
)

//go:embed manifests/fleet.yaml
var fleetManifest string

const (
	fleets        = 20
	fleetPods     = 50
	fleetNodes    = 50
	fleetReboot   = 5 * time.Second
	slowReboot    = 30 * time.Second
	plentyOfRoom  = "{cpu: 50m, memory: 64Mi}"
	largelyFilled = "{cpu: 170m, memory: 696Mi}" // 1,000 of them are 85% of 50 nodes with 4 CPUs and 16 GiB
)

// fleet returns the manifests of the Deployments with their budgets.
func fleet(requests string) []byte {
	var b strings.Builder
	for i := range fleets {
		b.WriteString("---\n")
		b.WriteString(strings.NewReplacer("NAME", fmt.Sprintf("fleet-%02d", i+1), "REQUESTS", requests).Replace(fleetManifest))
	}
	return []byte(b.String())
}

// fleetRuns maintain all nodes of a cluster, a new one for each run: how the last
// one left the pods spread would be the next one's luck.
type fleetRuns struct {
	*bench
	requests string
	reboot   time.Duration
	// deaf: the scheduler does not care for soft taints.
	deaf bool
}

// refit runs as many rounds as are wanted.
func (m *fleetRuns) refit(ctx context.Context, share string) (fleetSamples, error) {
	flags := []string{"maintain", "--all", "--reboot", "--max-unavailable", share, "--work-estimate", m.reboot.String()}
	var samples fleetSamples
	for range m.longRounds {
		var s fleetSample
		err := m.onFleet(ctx, func(e *environment) (err error) {
			if s.plan, err = e.forecast(ctx, append(flags, "--dry-run", "-o", "json")...); err != nil {
				return err
			}
			s.sample, err = e.judged(ctx, func() (sample, error) { return e.refit(ctx, append(flags, "--yes")...) })
			return err
		})
		if err != nil {
			return nil, err
		}
		m.logf("refit, %s at once, reboot %s: %s (lower bound %.1f s), %.3f moves per pod, processors busy %.0f%%",
			share, m.reboot, s.wall.Round(100*time.Millisecond), s.plan.LowerBound, s.moves, 100*s.busy)
		samples = append(samples, s)
	}
	return samples, nil
}

// loop has kubectl do it, node by node.
func (m *fleetRuns) loop(ctx context.Context) (fleetSamples, error) {
	var s fleetSample
	err := m.onFleet(ctx, func(e *environment) (err error) {
		s.sample, err = e.judged(ctx, func() (sample, error) { return e.kubectlLoop(ctx) })
		return err
	})
	m.logf("kubectl loop: %s, %.3f moves per pod", s.wall.Round(100*time.Millisecond), s.moves)
	return fleetSamples{s}, err
}

func (m *fleetRuns) onFleet(ctx context.Context, work func(*environment) error) (err error) {
	options := twin.Options{Nodes: fleetNodes, Zones: 3, Reboot: m.reboot}
	if m.deaf {
		config, err := m.deafScheduler()
		if err != nil {
			return err
		}
		options.SchedulerArgs = []string{"--config=" + config}
	}
	e, err := m.start(ctx, fleet(m.requests), options)
	if err != nil {
		return err
	}
	defer func() { err = e.stop(ctx, err) }()
	if err := e.rollOut(ctx); err != nil {
		return err
	}
	if err := work(e); err != nil {
		return err
	}
	return e.allReady(ctx, fleets*fleetPods)
}

// deafScheduler writes a configuration of the scheduler that differs from the
// twin's in one point: soft taints do not count when nodes are compared.
func (m *fleetRuns) deafScheduler() (file string, err error) {
	file = filepath.Join(m.state, "deaf-scheduler.yaml")
	text := fmt.Sprintf(`apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: %q, qps: 1000, burst: 2000}
leaderElection: {leaderElect: false}
profiles:
  - plugins:
      score:
        disabled: [{name: TaintToleration}]
`, filepath.Join(m.state, "twins", twinName, "kube-scheduler.kubeconfig"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write a scheduler's configuration: %w", err)
	}
	return file, nil
}

// fleetSample is one run, and what its plan said of it.
type fleetSample struct {
	sample
	plan forecast
}

type fleetSamples []fleetSample

func (s fleetSamples) over(f func(fleetSample) float64) spread { return spreadOver(s, f) }

func (s fleetSamples) wall() spread {
	return s.over(func(x fleetSample) float64 { return x.wall.Seconds() })
}

func (s fleetSamples) by(peer fleetSamples) spread {
	return s.over(func(x fleetSample) float64 { return x.wall.Seconds() / peer[0].wall.Seconds() })
}
func (s fleetSamples) bound() spread {
	return s.over(func(x fleetSample) float64 { return x.plan.LowerBound })
}
func (s fleetSamples) predicted() spread {
	return s.over(func(x fleetSample) float64 { return x.plan.Predicted })
}
func (s fleetSamples) byBound() spread {
	return s.over(func(x fleetSample) float64 { return x.wall.Seconds() / x.plan.LowerBound })
}
func (s fleetSamples) moves() spread {
	return s.over(func(x fleetSample) float64 { return x.sample.moves })
}
func (s fleetSamples) broken() spread {
	return s.over(func(x fleetSample) float64 { return float64(x.sample.broken) })
}
func (s fleetSamples) requests() spread {
	return s.over(func(x fleetSample) float64 { return float64(x.sample.requests) })
}
func (s fleetSamples) memory() spread {
	return s.over(func(x fleetSample) float64 { return float64(x.sample.memory) / (1 << 20) })
}
func (s fleetSamples) busy() spread {
	return s.over(func(x fleetSample) float64 { return 100 * x.sample.busy })
}
