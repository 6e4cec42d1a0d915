// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reality_test

import "testing"

// TestClientLimits loses nodes with many pods while kube-controller-manager makes no more
// calls than it does by default: a node with 70 pods, of which the last ones are deleted some
// 9 s after they are due, and a zone of four with 40 each, of which the nodes are found
// silent one after the other, because all pods of each are first set to not Ready.
func TestClientLimits(t *testing.T) {
	g := newGround(t, 12, 4, "--kube-api-qps=20", "--kube-api-burst=30")
	t.Cleanup(func() { g.told(200) })
	a, b, c := g.zones["zone-a"], g.zones["zone-b"], g.zones["zone-c"]
	crowd := &trial{name: "crowd", manifest: "crowd", nodes: b[:1]}
	crowds := &trial{name: "crowds", manifest: "crowds", nodes: c, wide: true}
	g.fill([]*trial{crowd, crowds}, append(append([]string{}, a[1:]...), b[1:]...))
	g.params = g.parameters()
	if rate, burst := g.params.ClientRate.Value, g.params.ClientBurst.Value; rate != 20 || burst != 30 {
		t.Fatalf("%g calls per second, %d at once", rate, burst)
	}
	for _, x := range []*trial{crowd, crowds} {
		g.lose(x)
		g.judge(x)
	}
}
