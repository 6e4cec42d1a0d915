// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

import (
	"cmp"
	"slices"
)

// Violation is one instance that breaks one rule.
type Violation struct {
	Rule      Rule
	Component Component
	Instance  Instance
	// Peer is what the instance is too far from, the farthest one in that
	// direction; both are zero for RuleSupported.
	Peer         Component
	PeerInstance Instance
	// Allowed are the minors that the rule leaves to the component, given all the
	// peers. It is empty if the peers themselves are too far apart.
	Allowed Range

	statement string
}

// Check returns what the policy does not allow: first the rules between
// components, by component (control plane, nodes, clients), rule, name and
// version, then what is out of support in the same order. An instance that is
// too new for one API server and too old for another breaks its rule twice.
// Without a known API server the rules about API servers are not judged.
func Check(c Components) []Violation {
	groups := c.groups()
	var violations []Violation
	for _, g := range groups {
		for _, l := range limits() {
			if l.component != g.component {
				continue
			}
			peersOf := l.peers(c)
			for _, i := range sorted(g.instances) {
				violations = append(violations, l.judge(i, peersOf(i))...)
			}
		}
	}
	return append(violations, unsupported(groups, c.newest())...)
}

// judge holds one instance against its peers.
func (l limit) judge(i Instance, peers []Instance) []Violation {
	if len(peers) == 0 {
		return nil
	}
	byMinor := func(a, b Instance) int { return cmp.Compare(a.minor(), b.minor()) }
	oldest, newest := slices.MinFunc(peers, byMinor), slices.MaxFunc(peers, byMinor)
	broken := func(peer Instance) Violation {
		return Violation{Rule: l.rule, Component: l.component, Instance: i, Peer: l.peer, PeerInstance: peer,
			Allowed: l.allowed(oldest.minor(), newest.minor()), statement: l.statement}
	}
	var violations []Violation
	if l.tooNew(i.minor(), oldest.minor()) {
		violations = append(violations, broken(oldest))
	}
	if l.tooOld(i.minor(), newest.minor()) {
		violations = append(violations, broken(newest))
	}
	return violations
}

// peers returns a function that finds what an instance is held against, sorted by name.
func (l limit) peers(c Components) func(Instance) []Instance {
	servers := sorted(c.APIServers)
	switch l.peer {
	case l.component: // API servers: the newest of them
		if len(servers) > 0 {
			newest := slices.MaxFunc(servers, func(a, b Instance) int { return cmp.Compare(a.minor(), b.minor()) })
			servers = []Instance{newest}
		}
		return func(Instance) []Instance { return servers }
	case Kubelet: // the one on the same node
		kubelets := byName(c.Kubelets)
		return func(i Instance) []Instance {
			if i.Name == "" {
				return nil
			}
			return kubelets[i.Name]
		}
	default: // the API server that it is tied to, or all
		named := byName(servers)
		return func(i Instance) []Instance {
			if i.APIServer != "" && len(named[i.APIServer]) > 0 {
				return named[i.APIServer]
			}
			return servers
		}
	}
}

func byName(instances []Instance) map[string][]Instance {
	named := make(map[string][]Instance)
	for _, i := range sorted(instances) {
		named[i.Name] = append(named[i.Name], i)
	}
	return named
}

// unsupported finds the instances of minors that get no fixes any more. The
// binary counts here, whatever it emulates.
func unsupported(groups []group, newest int) []Violation {
	supported := Supported(newest)
	var violations []Violation
	for _, g := range groups {
		for _, i := range sorted(g.instances) {
			if i.Version.Minor < supported.Oldest {
				violations = append(violations, Violation{Rule: RuleSupported, Component: g.component, Instance: i, Allowed: supported})
			}
		}
	}
	return violations
}

// newest returns the newest released minor: given, known, or seen running.
func (c Components) newest() int {
	if c.Newest != 0 {
		return c.Newest
	}
	newest := NewestKnown
	for _, g := range c.groups() {
		for _, i := range g.instances {
			if !i.Version.Prerelease() {
				newest = max(newest, i.Version.Minor)
			}
		}
	}
	return newest
}

func sorted(instances []Instance) []Instance {
	instances = slices.Clone(instances)
	slices.SortFunc(instances, compare)
	return instances
}

func compare(a, b Instance) int {
	return cmp.Or(
		cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.Version.Minor, b.Version.Minor),
		cmp.Compare(a.Version.Patch, b.Version.Patch),
		cmp.Compare(a.Version.Suffix, b.Version.Suffix),
		cmp.Compare(a.Emulated.Minor, b.Emulated.Minor),
		cmp.Compare(a.APIServer, b.APIServer),
	)
}
