// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"refit.dev/refit/cluster"
)

func testUID(name string) types.UID { return types.UID("uid-" + name) }

// TestNext reads transcripts: a line for each node of the cluster, with words
// about it, and the decision.
//
//	name [control-plane] [not-ready] [cordoned | cordoned-by=RUN] [other-uid]
//	     [waiting|begun|worked|active|done|failed|failed-late|skipped] [was-cordoned] [deleted]
//
// A node with a standing is one of the run. One that is worked has begun, and has
// its reboot behind it.
func TestNext(t *testing.T) {
	datadriven.Walk(t, "testdata/next", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "next" {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			limit := "1"
			d.MaybeScanArgs(t, "max-unavailable", &limit)
			share, err := ParseShare(limit)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			spec := testSpec()
			spec.MaxUnavailable = share
			d.MaybeScanArgs(t, "max-failures", &spec.MaxFailures)
			snapshot, p := parseCluster(t, d.Input, spec)
			if d.HasArg("upgrade") { // of all nodes, as workers
				stage := Stage{Role: Workers, Version: "v1.37.2"}
				for _, target := range spec.Nodes {
					stage.Nodes = append(stage.Nodes, target.Name)
				}
				spec.Upgrade = &Upgrade{To: stage.Version, Stages: []Stage{stage}}
			}
			return draw(Next(spec.view(snapshot), spec, p))
		})
	})
}

func parseCluster(t *testing.T, input string, spec *Spec) (*cluster.Snapshot, Progress) {
	t.Helper()
	p := Progress{Nodes: map[string]*NodeStatus{}, Active: map[string]bool{}}
	var objs []runtime.Object
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		name := words[0]
		node := readyNode(name)
		deleted := false
		target := Target{Name: name, UID: testUID(name)}
		status := &NodeStatus{Steps: map[Step]State{}}
		for _, word := range words[1:] {
			word, value, _ := strings.Cut(word, "=")
			switch word {
			case "control-plane":
				node.Labels = map[string]string{"node-role.kubernetes.io/control-plane": ""}
			case "not-ready":
				node.Status.Conditions[0].Status = corev1.ConditionUnknown
			case "holds-pod":
				objs = append(objs, &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Name: "on-" + name, Namespace: "shop", UID: testUID("on-" + name)},
					Spec:       corev1.PodSpec{NodeName: name},
				})
			case "cordoned":
				node.Spec.Unschedulable = true
			case "cordoned-by":
				if value == "us" {
					value = spec.Run
				}
				node.Spec.Unschedulable = true
				node.Annotations = map[string]string{cluster.CordonAnnotation: fmt.Sprintf(`{"run":%q}`, value)}
			case "other-uid":
				node.UID = "another"
			case "was-cordoned":
				target.Unschedulable = true
			case "deleted":
				deleted = true
			case "active":
				status.Standing = Begun
				p.Active[name] = true
			case "worked":
				status.Standing = Begun
				status.Steps[StepReboot] = Done
			case "failed-late":
				status.Standing = Failed
				status.Steps[StepUncordon] = Done
			default:
				status.Standing = Standing(word)
				if !slices.Contains([]Standing{Waiting, Begun, Maintained, Failed, Skipped}, status.Standing) {
					t.Fatalf("unknown word %q", word)
				}
			}
		}
		if status.Standing != "" {
			spec.Nodes = append(spec.Nodes, target)
			p.Nodes[name] = status
		}
		if !deleted {
			objs = append(objs, node)
		}
	}
	snapshot, err := cluster.FromObjects(testTime, objs...)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot, p
}

func readyNode(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: testUID(name)},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			NodeInfo:   corev1.NodeSystemInfo{BootID: "boot-1"},
		},
	}
}

func draw(d Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "slots: %d\n", d.Slots)
	for _, part := range []struct {
		name string
		list []NodeReason
	}{{"out", d.Out}, {"waits", d.Waits}, {"held", d.Held}, {"gone", d.Gone}} {
		for _, r := range part.list {
			fmt.Fprintf(&b, "%s: %s, %s\n", part.name, r.Node, r.Reason)
		}
	}
	if d.Stop != "" {
		fmt.Fprintf(&b, "stop: %s\n", d.Stop)
	}
	start := "nothing"
	if len(d.Start) > 0 {
		start = strings.Join(d.Start, " ")
	}
	fmt.Fprintf(&b, "start: %s\n", start)
	return b.String()
}

// Whatever the cluster looks like, a decision never takes more nodes out than
// there are slots, never two of the control plane, and never one twice.
func TestNextNeverTooMany(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		spec := testSpec()
		text := fmt.Sprint(rapid.IntRange(1, 8).Draw(rt, "slots"))
		if rapid.Bool().Draw(rt, "percent") {
			text = fmt.Sprint(rapid.IntRange(1, 100).Draw(rt, "percentage")) + "%"
		}
		spec.MaxUnavailable, _ = ParseShare(text)
		spec.MaxFailures = rapid.IntRange(0, 3).Draw(rt, "failures")
		var lines []string
		for i := range rapid.IntRange(1, 30).Draw(rt, "nodes") {
			words := []string{
				fmt.Sprintf("n%02d", i),
				rapid.SampledFrom([]string{"", "", "", "control-plane"}).Draw(rt, "role"),
				rapid.SampledFrom([]string{"", "", "", "not-ready", "cordoned", "cordoned-by=us", "cordoned-by=x", "other-uid", "deleted"}).Draw(rt, "state"),
				rapid.SampledFrom([]string{"", "waiting", "waiting", "begun", "worked", "active", "done", "failed", "skipped"}).Draw(rt, "standing"),
			}
			lines = append(lines, strings.Join(words, " "))
		}
		snapshot, p := parseCluster(t, strings.Join(lines, "\n"), spec)
		d := Next(spec.view(snapshot), spec, p)
		out := map[string]bool{}
		for _, o := range d.Out {
			out[o.Node] = true
		}
		before := len(out)
		for _, name := range d.Start {
			if p.Active[name] {
				rt.Fatalf("%s is started twice", name)
			}
			if st := p.Nodes[name].Standing; st != Waiting && st != Begun {
				rt.Fatalf("%s is %s and started", name, st)
			}
			if !spec.worked(p.Nodes[name]) {
				out[name] = true
			}
		}
		if len(out) > max(before, d.Slots) {
			rt.Fatalf("%d nodes are out, %d are allowed, %d were before", len(out), d.Slots, before)
		}
		if len(d.Start) > 0 && len(d.Start)+len(p.Active) > d.Slots {
			rt.Fatalf("%d at work on %d slots", len(d.Start)+len(p.Active), d.Slots)
		}
		var plane []string
		for _, n := range snapshot.Nodes {
			if _, found := n.Labels["node-role.kubernetes.io/control-plane"]; found && slices.Contains(d.Start, n.Name) {
				plane = append(plane, n.Name)
			}
		}
		if len(plane) > 1 {
			rt.Fatalf("control-plane nodes %v are started at once", plane)
		}
	})
}
