// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/probe"
)

const (
	// serviceInterval is the time between the beginnings of two requests to a Service,
	// serviceLimit how long each may take.
	serviceInterval = 500 * time.Millisecond
	serviceLimit    = 5 * time.Second
)

// ServiceProbe is a Service that is asked all through an upgrade.
type ServiceProbe struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Address is its ClusterIP and port.
	Address string `json:"address"`
}

func (s ServiceProbe) String() string { return s.Namespace + "/" + s.Name }

// serviceProbe asks one Service from the machines of the run's nodes, so that the requests
// go through the kube-proxy of a node, as those of pods do.
type serviceProbe struct {
	*engine
	target ServiceProbe
	dial   func(ctx context.Context, node *corev1.Node, address string) (net.Conn, error)
	from   string // the node that asked last
	closed map[string]bool
	count  probe.Tally
}

// probeServices asks the Services that the run names until stop is called, which returns
// what came of it.
func (e *engine) probeServices(ctx context.Context) (stop func() string) {
	u, ok := e.work.(upgrading)
	if !ok || u.dial == nil || len(e.spec.Upgrade.Probes) == 0 {
		return func() string { return "" }
	}
	asking, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	probes := make([]*serviceProbe, len(e.spec.Upgrade.Probes))
	for i, target := range e.spec.Upgrade.Probes {
		probes[i] = &serviceProbe{engine: e, target: target, dial: u.dial, closed: map[string]bool{}}
		all.Go(func() { probes[i].watch(asking) })
	}
	return func() string {
		cancel()
		all.Wait()
		var b strings.Builder
		for _, p := range probes {
			b.WriteString("; " + p.verdict())
			e.emit(event.Event{Type: event.ServiceProbed, Probe: p.result(), Message: p.verdict()})
		}
		return b.String()
	}
}

func (p *serviceProbe) watch(ctx context.Context) {
	service := &probe.Service{Address: p.target.Address, Dial: p.dialled}
	probe.Probe{
		Ask: service.Ask, Interval: serviceInterval, Patience: serviceLimit, Clock: p.clock, Count: &p.count,
	}.Watch(ctx, func(o probe.Outage) {
		if o.End.IsZero() {
			p.tell(event.Event{Time: o.Begin, Type: event.ServiceLost, Message: fmt.Sprintf("service %s does not answer: %v", p.target, o.Err)})
			return
		}
		took := o.End.Sub(o.Begin)
		p.tell(event.Event{
			Time: o.End, Type: event.ServiceBack, Seconds: took.Seconds(),
			Message: fmt.Sprintf("service %s answers again, after %s", p.target, took.Round(100*time.Millisecond)),
		})
	})
}

func (p *serviceProbe) tell(e event.Event) {
	e.Run, e.Node, e.Probe = p.spec.Run, p.from, &event.Probe{Service: p.target.String()}
	p.sink.Emit(e)
}

// dialled connects from a node that is not in its turn. A machine that is out of reach, or
// that forwards no connections, says nothing about the Service: the next one is taken.
func (p *serviceProbe) dialled(ctx context.Context, address string) (net.Conn, error) {
	for _, name := range p.idle() {
		node := p.cluster.Seen(name)
		if node == nil || p.closed[name] {
			continue
		}
		p.from = name
		conn, err := p.dial(ctx, node, address)
		switch {
		case errors.Is(err, host.ErrNoForwarding):
			p.closed[name] = true
			p.emit(event.Event{
				Type: event.Warning, Node: name, Message: fmt.Sprintf("service %s cannot be asked from here: %v", p.target, err),
				Hint: "allow it on the machine (sshd_config: AllowTcpForwarding), or see to it that another one may ask",
			})
			continue
		case err != nil && host.Temporary(err):
			continue
		}
		return conn, err
	}
	return nil, probe.ErrNotAsked
}

// idle are the run's nodes that are not in their turn: the one that asked last, the other
// workers, then nodes of the control plane.
func (p *serviceProbe) idle() []string {
	planes := p.spec.Upgrade.controlPlanes()
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, t := range p.spec.Nodes {
		if n := p.status.Nodes[t.Name]; n.Standing != Begun && n.Standing != Failed {
			names = append(names, t.Name)
		}
	}
	rank := func(name string) int {
		switch {
		case slices.Contains(planes, name):
			return 2
		case name == p.from:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

func (p *serviceProbe) result() *event.Probe {
	return &event.Probe{Service: p.target.String(), Requests: p.count.Asked, Failed: p.count.Failed, LongestSeconds: p.count.Longest.Seconds()}
}

func (p *serviceProbe) verdict() string {
	requests := phrase.Count(p.count.Asked, "request")
	switch {
	case p.count.Asked == 0:
		return fmt.Sprintf("service %s could not be asked", p.target)
	case p.count.Failed == 0:
		return fmt.Sprintf("service %s answered all of %s", p.target, requests)
	}
	return fmt.Sprintf("service %s did not answer %d of %s (for %s at once at most)", p.target, p.count.Failed, requests, p.count.Longest.Round(100*time.Millisecond))
}
