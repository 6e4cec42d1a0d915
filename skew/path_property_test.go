// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"refit.dev/refit/skew"
)

// proc is one running program as the test keeps it: nothing of package skew
// decides what it does.
type proc struct {
	component skew.Component
	node      string
	minor     int
	patch     int
	via       string // the only API server that it talks to; "" for any
}

// breaches holds every pair of a cluster against the policy, in the words of the
// oracle, and says of each node that breaks it by what.
func breaches(procs []proc) map[string]string {
	broken := map[string]string{}
	servers := map[string]bool{}
	for _, p := range procs {
		servers[p.node] = servers[p.node] || p.component == skew.APIServer
	}
	for _, a := range procs {
		for _, b := range procs {
			var fine bool
			talks := b.component == skew.APIServer && (a.via == "" || !servers[a.via] || a.via == b.node)
			switch {
			case a.component == skew.APIServer && b.component == skew.APIServer:
				fine = sameCluster(a.minor, b.minor)
			case (a.component == skew.Kubelet || a.component == skew.KubeProxy) && talks:
				fine = ofNode(a.minor, b.minor)
			case (a.component == skew.ControllerManager || a.component == skew.Scheduler || a.component == skew.CloudControllerManager) && talks:
				fine = ofControlPlane(a.minor, b.minor)
			case a.component == skew.KubeProxy && b.component == skew.Kubelet && a.node == b.node:
				fine = besideKubelet(a.minor, b.minor)
			default:
				fine = true
			}
			if !fine {
				broken[a.node] = fmt.Sprintf("%s 1.%d beside %s 1.%d on %s", a.component, a.minor, b.component, b.minor, b.node)
			}
		}
	}
	return broken
}

func toComponents(procs []proc) skew.Components {
	var c skew.Components
	for _, p := range procs {
		i := skew.Instance{Name: p.node, Version: skew.Version{Minor: p.minor, Patch: p.patch}, APIServer: p.via}
		list := map[skew.Component]*[]skew.Instance{
			skew.APIServer: &c.APIServers, skew.ControllerManager: &c.ControllerManagers, skew.Scheduler: &c.Schedulers,
			skew.CloudControllerManager: &c.CloudControllerManagers, skew.Kubelet: &c.Kubelets, skew.KubeProxy: &c.KubeProxies,
		}[p.component]
		*list = append(*list, i)
	}
	return c
}

// drawCluster draws a cluster of one to three control planes and up to four workers,
// of versions around a minor. Most of it is within the policy, not all.
func drawCluster(t *rapid.T) []proc {
	base := rapid.IntRange(20, 36).Draw(t, "base")
	patch := rapid.IntRange(0, 2)
	near := func(label string, older int) int {
		return base - rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 3, 4, -1}).Filter(func(n int) bool { return n <= older }).Draw(t, label)
	}
	var procs []proc
	put := func(c skew.Component, node string, minor int, via string) {
		procs = append(procs, proc{c, node, minor, patch.Draw(t, "patch"), via})
	}
	tied := rapid.Bool()
	for n := range rapid.IntRange(1, 3).Draw(t, "control planes") {
		node := fmt.Sprintf("cp-%d", n)
		server := near("api server", 1)
		put(skew.APIServer, node, server, "")
		via := func() string {
			if tied.Draw(t, "tied") {
				return node
			}
			return ""
		}
		put(skew.ControllerManager, node, server-rapid.IntRange(0, 1).Draw(t, "controllers"), via())
		put(skew.Scheduler, node, server-rapid.IntRange(0, 1).Draw(t, "scheduler"), via())
		if tied.Draw(t, "cloud") {
			put(skew.CloudControllerManager, node, server-rapid.IntRange(0, 1).Draw(t, "cloud"), via())
		}
		if rapid.IntRange(0, 9).Draw(t, "kubelet") > 0 {
			put(skew.Kubelet, node, near("kubelet", 2), via())
			put(skew.KubeProxy, node, near("proxy", 2), "")
		}
	}
	for n := range rapid.IntRange(0, 4).Draw(t, "workers") {
		node := fmt.Sprintf("w-%d", n)
		put(skew.Kubelet, node, near("kubelet", 4), "")
		if tied.Draw(t, "has a proxy") {
			put(skew.KubeProxy, node, near("proxy", 4), "")
		}
	}
	return procs
}

// At every moment between two single steps of a path the cluster obeys the policy; if
// it did not in the beginning, no node breaks it that did not then. No component goes
// back, no API server goes more than one minor at a time, no more than one component
// of one node moves at once, and in the end all that refit moves is at the goal.
func TestEveryMomentOfAPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		procs := drawCluster(t)
		goal := skew.Goal{
			Version:          skew.Version{Minor: rapid.IntRange(19, 42).Draw(t, "goal"), Patch: rapid.IntRange(0, 2).Draw(t, "goal's patch")},
			Workers:          rapid.SampledFrom([]skew.WorkerHops{skew.FewestHops, skew.EachHop}).Draw(t, "workers"),
			AllowUnsupported: true,
		}
		path, refusals := skew.FindPath(toComponents(procs), goal)
		if len(refusals) > 0 {
			if reasonable(procs, goal) {
				t.Fatalf("refused without need: %+v", refusals)
			}
			return
		}
		before := breaches(procs)
		for _, h := range path.Hops {
			for _, m := range h.Moves {
				for _, component := range m.Components {
					for n := range procs {
						p := &procs[n]
						if p.component != component || m.Node != "" && p.node != m.Node || ahead(*p, h.To) {
							continue
						}
						if component == skew.APIServer && h.To.Minor-p.minor > 1 {
							t.Fatalf("the API server on %s goes from 1.%d to %s", p.node, p.minor, h.To)
						}
						p.minor, p.patch = h.To.Minor, max(0, h.To.Patch)
						for node, what := range breaches(procs) {
							if before[node] == "" {
								t.Fatalf("%s to %s on %s: now %s has %s", component, h.To, m.Node, node, what)
							}
						}
					}
				}
			}
		}
		for _, p := range procs {
			if p.component != skew.CloudControllerManager && !ahead(p, goal.Version) {
				t.Fatalf("%s on %s is at 1.%d.%d in the end", p.component, p.node, p.minor, p.patch)
			}
		}
		for node, what := range breaches(procs) {
			t.Fatalf("in the end %s has %s", node, what)
		}
	})
}

// ahead tells whether a program is at a version or beyond.
func ahead(p proc, v skew.Version) bool {
	return p.minor > v.Minor || p.minor == v.Minor && p.patch >= max(0, v.Patch)
}

// reasonable tells, again without the package, that there must be a path.
func reasonable(procs []proc, goal skew.Goal) bool {
	var servers []int
	for _, p := range procs {
		if p.component == skew.APIServer {
			servers = append(servers, p.minor)
		}
	}
	for _, p := range procs {
		late := p.component == skew.CloudControllerManager && goal.Version.Minor-p.minor > 1
		if late || p.minor > goal.Version.Minor || p.minor == goal.Version.Minor && p.patch > goal.Version.Patch {
			return false
		}
	}
	return slices.Max(servers)-slices.Min(servers) <= 1
}

// The workers of a path with the fewest moves move as seldom as a search through all
// possibilities finds.
func TestFewestMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		server := rapid.IntRange(18, 34).Draw(t, "server")
		kubelet := server - rapid.IntRange(0, 3).Draw(t, "behind")
		if !ofNode(kubelet, server) {
			return
		}
		goal := server + rapid.IntRange(0, 8).Draw(t, "hops")
		path, refusals := skew.FindPath(skew.Components{APIServers: []skew.Instance{at("cp", server)}, Kubelets: []skew.Instance{at("w", kubelet)}},
			skew.Goal{Version: skew.Version{Minor: goal}, AllowUnsupported: true})
		if len(refusals) > 0 {
			t.Fatal(refusals)
		}
		moves := 0
		for _, h := range path.Hops {
			for _, m := range h.Moves {
				if m.Stage == skew.StageWorker {
					moves++
				}
			}
		}
		if want := fewest(kubelet, server, goal); moves != want {
			t.Fatalf("%d moves of the worker, %d would do: %+v", moves, want, path)
		}
	})
}

// fewest tries at every hop to move the worker and not to.
func fewest(kubelet, server, goal int) int {
	const never = 1 << 20
	if !ofNode(kubelet, server) {
		return never
	}
	if server == goal {
		if kubelet == goal {
			return 0
		}
		return 1
	}
	stay := fewest(kubelet, server+1, goal)
	if kubelet == server {
		return stay
	}
	return min(stay, 1+fewest(server, server+1, goal))
}
