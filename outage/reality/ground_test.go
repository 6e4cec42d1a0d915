// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reality_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
	"refit.dev/refit/outage"
	"refit.dev/refit/outage/reality"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/scenario"
	"refit.dev/refit/twin/simulated"
	"refit.dev/refit/twin/twintest"
)

// ground is a cluster with short clocks, on which nodes are lost.
type ground struct {
	*testing.T
	ctx     context.Context //nolint:containedctx // of the test, with a deadline
	tw      *twin.Twin
	client  kubernetes.Interface
	history *reality.History
	rate    float64 // of taints, in nodes per second
	params  outage.Parameters
	zones   map[string][]string // names of nodes
	scores  []score
}

// The clocks. A node is unreachable 12 to 16 s after its loss, and its pods are
// deleted 18 s after that.
const (
	grace      = 14 * time.Second
	toleration = 18 * time.Second
	lease      = 8 * time.Second
	monitor    = 2 * time.Second
)

func newGround(t *testing.T, size int, rate float64, args ...string) *ground {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	tw := twintest.Start(t, twin.Options{
		Nodes: size, Zones: 3, StaticPods: true,
		NodeLease: lease, NodeMonitorGracePeriod: grace, DefaultToleration: toleration,
		ControllerManagerArgs: append([]string{"--node-monitor-period=" + monitor.String(), fmt.Sprint("--node-eviction-rate=", rate)}, args...),
	})
	g := &ground{T: t, ctx: ctx, tw: tw, client: twintest.Client(t, tw), rate: rate, zones: map[string][]string{}}
	var err error
	if g.history, err = reality.Watch(ctx, g.client); err != nil {
		t.Fatal(err)
	}
	nodes, err := g.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		zone := n.Labels[corev1.LabelTopologyZone]
		g.zones[zone] = append(g.zones[zone], n.Name)
	}
	return g
}

// parameters are read off the static pods. That is all a forecast knows of the
// clocks, but for the leases: a kubelet's own settings are not to be seen.
func (g *ground) parameters() outage.Parameters {
	g.Helper()
	p, remarks := outage.ReadParameters(g.read())
	if len(remarks) > 0 || p.GracePeriod.Value != grace || p.Unreachable.Value != toleration || p.EvictionRate.Value != g.rate {
		g.Fatalf("parameters: %+v; %v", p, remarks)
	}
	g.must(p.Set("lease-renewal", (lease / 4).String()))
	return p
}

// must fails the test if something that belongs to its preparation went wrong.
func (g *ground) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// label sets labels of a node: keys and values by turns.
func (g *ground) label(node string, pairs ...string) {
	g.Helper()
	labels := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		labels[pairs[i]] = pairs[i+1]
	}
	g.patch(node, map[string]any{"metadata": map[string]any{"labels": labels}})
}

func (g *ground) patch(node string, change any) {
	g.Helper()
	data, err := json.Marshal(change)
	g.must(err)
	_, err = g.client.CoreV1().Nodes().Patch(g.ctx, node, types.StrategicMergePatchType, data, metav1.PatchOptions{})
	g.must(err)
}

// all are the names of all nodes.
func (g *ground) all() []string {
	var all []string
	for _, zone := range slices.Sorted(maps.Keys(g.zones)) {
		all = append(all, g.zones[zone]...)
	}
	return all
}

// fill puts the workloads of each trial on its own nodes and those of the
// manifest "everywhere" on the others. From then on each may go to the safe nodes,
// too: a forecast of one loss knows nothing of the others at the same time, and a node
// that is not yet known to be lost gets pods.
func (g *ground) fill(trials []*trial, safe []string) {
	g.Helper()
	own := map[string]string{}
	for _, t := range trials {
		for _, node := range t.nodes {
			own[node] = t.name
		}
	}
	all := g.all()
	manifests := map[string]string{"everywhere": "everywhere"}
	for _, node := range all {
		name := own[node]
		if name == "" {
			name = "everywhere"
		}
		g.label(node, "trial/"+name, "", "only/"+name, "")
	}
	for _, t := range trials {
		manifests[t.name] = t.manifest
	}
	cfg := twintest.Config(g.T, g.tw)
	var sets []*scenario.Scenario
	for _, name := range slices.Sorted(maps.Keys(manifests)) {
		data, err := os.ReadFile("testdata/" + manifests[name] + ".yaml")
		g.must(err)
		set, err := scenario.Parse(name, []byte(strings.ReplaceAll(string(data), "${trial}", name)))
		g.must(err)
		g.must(set.Apply(g.ctx, cfg))
		sets = append(sets, set)
	}
	for _, set := range sets {
		g.must(set.AwaitReady(g.ctx, cfg))
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(manifests)) {
		pairs = append(pairs, "trial/"+name, "")
	}
	for _, node := range safe {
		g.label(node, pairs...)
	}
	g.quiet(all)
}

// read takes a snapshot with the rights that refit has.
func (g *ground) read() *cluster.Snapshot {
	g.Helper()
	s, err := cluster.Read(g.ctx, g.client)
	g.must(err)
	return s
}

// wait returns at a moment of the clock that the twin's control plane runs by, too.
func (g *ground) wait(until time.Time) {
	g.Helper()
	select {
	case <-time.After(time.Until(until)):
	case <-g.ctx.Done():
		g.Fatal(context.Cause(g.ctx))
	}
}

// hang is when a condition that should come about is given up.
const hang = 2 * time.Minute

func (g *ground) await(what string, ok func() bool) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.ctx, hang)
	defer cancel()
	g.must(g.history.Await(ctx, what, ok))
}

func (g *ground) quiet(nodes []string) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.ctx, hang)
	defer cancel()
	g.must(g.history.AwaitQuiet(ctx, nodes))
}

// fail has machines die without a word, all at once; recover has them work again.
// (This is what the twin's FailNode and RecoverNode do, which take longer for many.)
func (g *ground) fail(nodes ...string) {
	g.Helper()
	g.each(nodes, map[string]any{simulated.KubeletLabel: simulated.KubeletStopped, simulated.TendedLabel: nil})
}

func (g *ground) recover(nodes ...string) {
	g.Helper()
	g.each(nodes, map[string]any{simulated.KubeletLabel: simulated.KubeletRunning})
}

func (g *ground) each(nodes []string, labels map[string]any) {
	g.Helper()
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	g.must(err)
	group, ctx := errgroup.WithContext(g.ctx)
	for _, node := range nodes {
		group.Go(func() error {
			_, err := g.client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, data, metav1.PatchOptions{})
			return err
		})
	}
	g.must(group.Wait())
}

// score is how the forecast of one trial did.
type score struct {
	name string
	*reality.Verdict
}

// told prints the scores and what they add up to.
func (g *ground) told(atLeast int) {
	g.Helper()
	var deletion, unreachable, taint reality.Errors
	pods := 0
	var b strings.Builder
	for _, s := range g.scores {
		pods += s.Pods
		deletion.Add(s.Deletion)
		unreachable.Add(s.Unreachable)
		taint.Add(s.Taint)
		var fates []string
		for _, fate := range outage.Fates() {
			if n := s.Fates[fate]; n > 0 {
				fates = append(fates, fmt.Sprintf("%d %s", n, fate))
			}
		}
		fmt.Fprintf(&b, "  %-16s %3d pods, %3d deleted, largest error %4.1f s; %s\n", s.name, s.Pods, s.Deleted, s.Deletion.Largest.Seconds(), strings.Join(fates, ", "))
	}
	g.Logf("forecast and reality of %d losses, %d pods:\n%s  deletions:   %s\n  unreachable: %s\n  tainted:     %s",
		len(g.scores), pods, b.String(), &deletion, &unreachable, &taint)
	if pods < atLeast && !g.Failed() {
		g.Errorf("the forecast was tried on %d pods, want %d or more", pods, atLeast)
	}
}
