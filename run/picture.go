// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
)

// View is the cluster as Next has to know it.
type View struct {
	// Nodes are in order of name, as they are numbered in the World.
	Nodes []*corev1.Node
	World *plan.World
}

// Whatever looks at a large part of the cluster rests afterwards for restShare
// times as long as it took, so that it never takes more than a fifth of one
// processor; but no longer than restMost, however slow the machine is.
const (
	restShare = 4
	restMost  = 30 * time.Second
)

func restAfter(took time.Duration) time.Duration { return min(restShare*took, restMost) }

// picture is the cluster as decisions about all of it see it: what has changed
// is noted at once, and looked at when the next decision is due. Who waits for a
// part of the cluster waits at the lookout.
//
// From time to time something changes that the picture is built on. Then it is
// made anew in the background, while decisions go on with what there is.
type picture struct {
	source plan.Source
	drain  plan.Drain
	clock  clock.WithTicker
	// news holds one if there is something that view has not shown yet.
	news chan struct{}

	mu    sync.Mutex // guards what follows
	noted changes
	since changes      // noted since a new Keeper began to be made
	next  *plan.Keeper // it is made

	// Only who calls view uses these.
	keeper *plan.Keeper
	making bool
	orders chan struct{} // holds one if a new Keeper is to be made
}

// changes are things that have changed, each once. Their verbs do not matter.
type changes map[cluster.Change]bool

func (c changes) list() []cluster.Change {
	list := make([]cluster.Change, 0, len(c))
	for x := range c {
		list = append(list, x)
	}
	return list
}

func newPicture(c Cluster, spec *Spec, clk clock.WithTicker) *picture {
	p := &picture{
		source: c.Caches(), drain: spec.drainRules(clk.Now), clock: clk,
		news: make(chan struct{}, 1), orders: make(chan struct{}, 1), noted: changes{}, since: changes{},
	}
	p.keeper = plan.Keep(p.source, p.drain)
	return p
}

// note says that something is not as the picture shows it any more.
func (p *picture) note(list ...cluster.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range list {
		c.Verb, c.Owner = "", ""
		p.noted[c], p.since[c] = true, true
	}
	p.tell()
}

func (p *picture) tell() {
	select {
	case p.news <- struct{}{}:
	default: // that is known
	}
}

// view returns the cluster with everything that was noted before the call. It is
// good until the next call; all calls come from one goroutine.
func (p *picture) view() View {
	p.mu.Lock()
	noted, next := p.noted, p.next
	if p.noted = (changes{}); next != nil {
		noted, p.next = p.since, nil
	}
	if next != nil || !p.making {
		p.since = changes{}
	}
	p.mu.Unlock()
	if next != nil {
		p.keeper, p.making = next, false
	}
	p.keeper.Renew(noted.list())
	if why := p.keeper.Outdated(); why != "" && !p.making {
		slog.Debug("the picture of the cluster is made anew", "reason", why)
		p.making = true
		p.orders <- struct{}{}
	}
	return View{Nodes: p.keeper.Nodes(), World: p.keeper.World()}
}

// renew makes new Keepers when they are ordered, until ctx ends.
func (p *picture) renew(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.orders:
		}
		p.mu.Lock()
		p.since = changes{} // what was noted before is in the caches
		p.mu.Unlock()
		begun := p.clock.Now()
		made := plan.Keep(p.source, p.drain)
		rest := p.clock.NewTimer(restAfter(p.clock.Since(begun)))
		p.mu.Lock()
		p.next = made
		p.tell()
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			rest.Stop()
			return
		case <-rest.C():
		}
	}
}
