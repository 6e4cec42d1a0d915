// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	"pgregory.net/rapid"

	"refit.dev/refit/plan"
)

// founder founds random towns. Their sizes are rapid's, so that a failure is
// shrunk to few nodes and few workloads; the rest is drawn quickly from a seed.
type founder struct {
	*rand.Rand
	*town
	used []usage
}

// usage is what is taken of a node.
type usage struct{ cpu, memory, pods int64 }

func (g *founder) oneIn(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *founder, from ...T) T { return from[g.IntN(len(from))] }

// randomTown draws one: mostly of 2 to 7 nodes, at times of up to 40. Shards that
// draw the same get different ones.
func randomTown(t *rapid.T, shard int) *town {
	nodes := rapid.IntRange(2, 7).Draw(t, "nodes")
	apps := rapid.IntRange(0, 6).Draw(t, "apps")
	if rapid.IntRange(0, 99).Draw(t, "large") == 99 {
		nodes, apps = rapid.IntRange(8, 40).Draw(t, "many nodes"), rapid.IntRange(2, 12).Draw(t, "many apps")
	}
	return foundTown(shards*drawSeed(t, "seed")+uint64(shard), nodes, apps) //nolint:gosec // a small number
}

// drawSeed draws in parts: of a Uint64 small values come again and again, and with
// them the same town.
func drawSeed(t *rapid.T, label string) (seed uint64) {
	for _, part := range rapid.SliceOfN(rapid.Uint16(), 4, 4).Draw(t, label) {
		seed = seed<<16 | uint64(part)
	}
	return seed
}

func foundTown(seed uint64, nodes, apps int) *town {
	g := &founder{Rand: rand.New(rand.NewPCG(seed, 1)), town: &town{}} //nolint:gosec // the seed is rapid's
	g.addNodes(nodes)
	for i := range apps {
		g.addApp(i)
	}
	g.addBudgets()
	g.addIntent()
	return g.town
}

func (g *founder) addNodes(n int) {
	zones := 1 + g.IntN(3)
	controlPlanes := pick(g, 0, 0, 1, 3)
	size := pick[int64](g, 2000, 4000, 8000)
	troubled := g.oneIn(3)
	for i := range n {
		x := townNode{
			name: fmt.Sprintf("node-%02d", i), zone: fmt.Sprintf("zone-%d", g.IntN(zones)), cpu: size, memory: 8192, pods: pick[int64](g, 8, 12, 110),
			controlPlane: i < controlPlanes, fast: g.oneIn(2), dedicated: g.oneIn(6), cordoned: troubled && g.oneIn(5), broken: troubled && g.oneIn(8),
		}
		if g.oneIn(4) {
			x.cpu = pick[int64](g, 1000, 4000, 16000)
		}
		if zones == 1 && g.oneIn(2) {
			x.zone = "zone-0"
		}
		g.nodes = append(g.nodes, x)
	}
	g.used = make([]usage, n)
}

func (g *founder) addApp(i int) {
	a := townApp{
		name: fmt.Sprintf("app-%02d", i), kind: pick(g, "Deployment", "Deployment", "Deployment", "Deployment", "StatefulSet", "StatefulSet", "DaemonSet", "Pod", "Job"),
		replicas: 1 + g.IntN(8), cpu: pick[int64](g, 10, 100, 250, 500, 1000, 1800), memory: pick[int64](g, 16, 256, 1024),
		startup: pick(g, 1, 1, 2, 5, 10, 30), grace: pick(g, 0, 0, 0, 1, 5, 20),
		apart: g.oneIn(6), fast: g.oneIn(8), tolerant: g.oneIn(3), zonal: false,
	}
	if g.oneIn(8) {
		a.spread = 1 + g.Int32N(2)
	}
	if g.oneIn(10) {
		a.port = pick[int32](g, 8080, 9090)
	}
	if g.oneIn(8) {
		a.priority = 1000
	}
	switch a.kind {
	case "StatefulSet":
		a.replicas = pick(g, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10)
		a.zonal = g.oneIn(3)
	case "DaemonSet":
		a.tolerant, a.apart, a.spread, a.cpu = true, false, 0, 10
	case "Pod":
		a.replicas = 1 + g.IntN(2)
	}
	n := len(g.apps)
	g.apps = append(g.apps, a)
	if a.kind == "DaemonSet" {
		g.apps[n].replicas = 0
		for i := range g.nodes {
			if g.mayRun(n, i) {
				g.apps[n].replicas++
				g.place(townPod{name: fmt.Sprintf("%s-%d", a.name, i), app: n, node: i})
			}
		}
		return
	}
	sick := pick(g, 0, 0, 0, 0, 0, 1, 2)
	g.apps[n].recent = g.oneIn(2)
	for r := range a.replicas {
		p := townPod{name: fmt.Sprintf("%s-%d", a.name, r), app: n, node: -1}
		for _, i := range g.Perm(len(g.nodes)) {
			if g.mayRun(n, i) {
				p.node, p.zone = i, g.nodes[i].zone
				break
			}
		}
		if p.node < 0 && a.zonal {
			p.zone = g.nodes[0].zone
		}
		if r < sick {
			p.unready = true
			p.pending = g.oneIn(4)
		}
		if p.node >= 0 && g.nodes[p.node].broken {
			p.unready = true
		}
		if p.node >= 0 && g.oneIn(40) {
			p.leaving = true
		}
		g.place(p)
	}
}

func (g *founder) place(p townPod) {
	g.pods = append(g.pods, p)
	if p.node >= 0 {
		a := &g.apps[p.app]
		g.used[p.node].cpu += a.cpu
		g.used[p.node].memory += a.memory
		g.used[p.node].pods++
	}
}

// mayRun tells whether a pod could have come to run on a node. A node may have
// been cordoned since.
func (g *founder) mayRun(app, node int) bool {
	a, n, used := &g.apps[app], &g.nodes[node], &g.used[node]
	if used.cpu+a.cpu > n.cpu || used.memory+a.memory > n.memory || used.pods+1 > n.pods || n.dedicated && !a.tolerant || a.fast && !n.fast {
		return false
	}
	for i := range g.pods {
		if p := &g.pods[i]; p.node == node && (a.apart && p.app == app || a.port > 0 && g.apps[p.app].port == a.port) {
			return false
		}
	}
	return true
}

func (g *founder) addBudgets() {
	for i := range g.apps {
		if k := g.apps[i].kind; k == "DaemonSet" || k == "Job" || k == "Pod" && !g.oneIn(4) || g.oneIn(4) {
			continue
		}
		b := townBudget{name: g.apps[i].name, apps: []int{i}, policy: pick(g, "", "", policyv1.IfHealthyBudget, policyv1.AlwaysAllow)}
		if i > 0 && g.apps[i-1].kind == g.apps[i].kind && g.oneIn(6) {
			b.apps = []int{i - 1, i} // two budgets for the other one, at times
		}
		switch bare := g.apps[i].kind == "Pod"; {
		case bare:
			b.min = pick(g, "0", "1")
		case g.oneIn(8):
			b.min = pick(g, "100%", "8", "1")
		case g.oneIn(3):
			b.min = pick(g, "1", "2", "50%", "34%", "75%")
		default:
			b.max = pick(g, "1", "1", "1", "2", "10%", "25%", "34%", "50%", "0")
		}
		b.uncomputable = g.oneIn(20)
		g.budgets = append(g.budgets, b)
	}
	for i := range g.pods {
		// Two budgets say nothing of a pod that is pending, until it runs elsewhere.
		g.pods[i].pending = g.pods[i].pending && len(g.budgetsOf(i)) < 2
	}
}

func (g *founder) addIntent() {
	in := &g.intent
	in.MaxUnavailable = 1 + g.IntN(min(4, len(g.nodes)))
	if g.oneIn(8) {
		in.MaxUnavailable = len(g.nodes)
	}
	in.MaxUnavailablePerZone = pick(g, 0, 0, 0, 1, 2)
	in.MaxMoves = pick(g, 1, plan.DefaultMaxMoves, plan.DefaultMaxMoves, 1.5, 2, 3)
	in.Work = time.Duration(pick(g, 1, 5, 5, 30, 60)) * time.Second
	in.Soak = time.Duration(pick(g, 0, 0, 0, 10)) * time.Second
	some := g.oneIn(3)
	for i := range g.nodes {
		if !some || g.oneIn(2) {
			in.Nodes = append(in.Nodes, g.nodes[i].name)
		}
	}
	if len(in.Nodes) == 0 {
		in.Nodes = []string{g.nodes[0].name}
	}
	slices.Sort(in.Nodes)
}
