// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"

	"refit.dev/refit/cluster"
	"refit.dev/refit/placement"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

const (
	deadline = 5 * time.Minute // guards against a hang
	rounds   = 120
)

// TestTheSchedulerAgrees creates pods with random demands on a real control
// plane. The scheduler must bind each to a node that placement said it fits, and
// leave exactly those unscheduled that placement said fit nowhere.
func TestTheSchedulerAgrees(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 6, Zones: 3, NodeCPU: "2", NodeMemory: "2Gi", NodePods: 8})
	client := twintest.Client(t, tw)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	w, err := cluster.Watch(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	changes := w.Subscribe()
	defer changes.Close()

	const seed = 20261122
	random := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // the same pods in every run
	g := &generator{random}
	prepare(ctx, t, client, g)
	await(ctx, t, changes, func() bool {
		return len(w.Snapshot().Nodes) == 6 && !slices.ContainsFunc(w.Snapshot().Nodes, func(n *cluster.Node) bool { return n.Labels["disk"] == "" }) &&
			w.Snapshot().Namespaces["b"]["team"] == "b"
	})
	bound, pending := 0, 0
	for i := range rounds {
		pod := g.pod(i)
		pods := client.CoreV1().Pods(pod.Namespace)
		// What the API server makes of it: defaults and tolerations.
		asked, err := pods.Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			t.Fatalf("%s: %v", pod.Name, err)
		}
		s := w.Snapshot()
		var fits []string
		why := map[string][]string{}
		for _, n := range s.Nodes {
			if why[n.Name] = placement.Fits(s, asked, n); len(why[n.Name]) == 0 {
				fits = append(fits, n.Name)
			}
		}
		if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		var seen *corev1.Pod
		await(ctx, t, changes, func() bool {
			seen = w.Pod(pod.Namespace, pod.Name)
			return seen != nil && (seen.Spec.NodeName != "" && seen.Status.Phase == corev1.PodRunning || unschedulable(seen) != "")
		})
		switch node := seen.Spec.NodeName; {
		case node != "" && !slices.Contains(fits, node):
			t.Errorf("round %d: %s was bound to %s, said to fit %v; against %s: %v\n%+v", i, pod.Name, node, fits, node, why[node], asked.Spec)
		case node == "" && len(fits) > 0:
			t.Errorf("round %d: %s was said to fit %v, but: %s\n%+v", i, pod.Name, fits, unschedulable(seen), asked.Spec)
		case node == "":
			pending++
		default:
			bound++
		}
		// Most pods go again: a full cluster, or one full of pods that repel others, has nothing to tell.
		if node := seen.Spec.NodeName; node == "" || random.IntN(5) > 0 {
			if err := pods.Delete(ctx, pod.Name, *metav1.NewDeleteOptions(0)); err != nil {
				t.Fatal(err)
			}
			await(ctx, t, changes, func() bool { return w.Pod(pod.Namespace, pod.Name) == nil })
		}
	}
	t.Logf("%d bound, %d fit nowhere", bound, pending)
	if bound < rounds/10 || pending < rounds/10 {
		t.Errorf("%d bound and %d pending pods try too little", bound, pending)
	}
}

func await(ctx context.Context, t *testing.T, changes *cluster.Subscription, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-changes.Ready():
			changes.Take()
		case <-ctx.Done():
			t.Fatal("waited in vain")
		}
	}
}

func unschedulable(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return c.Message
		}
	}
	return ""
}

// prepare makes the nodes different from each other, and two namespaces.
func prepare(ctx context.Context, t *testing.T, client kubernetes.Interface, g *generator) {
	t.Helper()
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range nodes.Items {
		// The node's controllers write to it, too.
		err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			n, err := client.CoreV1().Nodes().Get(ctx, nodes.Items[i].Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			n.Labels["disk"] = []string{"fast", "slow"}[i%2]
			switch i {
			case 1:
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "dedicated", Value: "batch", Effect: corev1.TaintEffectNoSchedule})
			case 2:
				n.Spec.Unschedulable = true
			case 3:
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "odd", Effect: corev1.TaintEffectPreferNoSchedule})
			}
			_, err = client.CoreV1().Nodes().Update(ctx, n, metav1.UpdateOptions{})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": name}}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		awaitAccount(ctx, t, client, name)
	}
}

// awaitAccount waits for the default account of a namespace: for a pod without one
// the API server waits a second or two, and then refuses it.
func awaitAccount(ctx context.Context, t *testing.T, client kubernetes.Interface, namespace string) {
	t.Helper()
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "serviceaccounts", namespace, fields.OneTermEqualSelector("metadata.name", "default"))
	_, err := watchtools.UntilWithSync(ctx, lw, &corev1.ServiceAccount{}, nil, func(e watch.Event) (bool, error) { return e.Type == watch.Added, nil })
	if err != nil {
		t.Fatalf("wait for the default account of namespace %s: %v", namespace, err)
	}
}

// generator makes pods that ask for things.
type generator struct{ *rand.Rand }

func (g *generator) sometimes(n int) bool { return g.IntN(n) == 0 }

func (g *generator) app() string { return []string{"x", "y", "z"}[g.IntN(3)] }

func (g *generator) pod(i int) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("p%03d", i), Namespace: []string{"a", "b"}[g.IntN(2)],
			Labels: map[string]string{"app": g.app(), "version": []string{"1", "2"}[g.IntN(2)]},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x:1", Resources: g.resources()}}},
	}
	if g.sometimes(4) {
		always := corev1.ContainerRestartPolicyAlways
		p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "x:1", Resources: g.resources()}, {Name: "s", Image: "x:1", RestartPolicy: &always, Resources: g.resources()}}
	}
	if g.sometimes(4) {
		p.Spec.NodeSelector = map[string]string{"disk": []string{"fast", "slow", "none"}[g.IntN(3)]}
	}
	if g.sometimes(4) {
		p.Spec.Tolerations = []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: []string{"batch", "other"}[g.IntN(2)]}}
	}
	if g.sometimes(8) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists})
	}
	if g.sometimes(5) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: int32(8000 + g.IntN(2)), Protocol: []corev1.Protocol{"TCP", "UDP"}[g.IntN(2)]}} //nolint:gosec // two ports
	}
	p.Spec.Affinity = g.affinity()
	if g.sometimes(3) {
		c := corev1.TopologySpreadConstraint{
			MaxSkew: 1, TopologyKey: g.topology(), WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: g.selector(),
		}
		if g.sometimes(2) {
			c.MatchLabelKeys = []string{"version"}
		}
		if g.sometimes(2) {
			honor := corev1.NodeInclusionPolicyHonor
			c.NodeTaintsPolicy = &honor
		}
		if g.sometimes(3) {
			four := int32(4)
			c.MinDomains = &four
		}
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{c}
	}
	return p
}

func (g *generator) resources() corev1.ResourceRequirements {
	list := corev1.ResourceList{}
	if !g.sometimes(3) {
		list[corev1.ResourceCPU] = resource.MustParse([]string{"100m", "300m", "900m", "1500m"}[g.IntN(4)])
	}
	if g.sometimes(2) {
		list[corev1.ResourceMemory] = resource.MustParse([]string{"64Mi", "512Mi", "1Gi"}[g.IntN(3)])
	}
	if g.sometimes(2) {
		return corev1.ResourceRequirements{Limits: list}
	}
	return corev1.ResourceRequirements{Requests: list}
}

func (g *generator) topology() string {
	return []string{corev1.LabelHostname, corev1.LabelTopologyZone, "disk", "none"}[min(g.IntN(10)/3, 3)]
}

func (g *generator) selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": g.app()}}
}

func (g *generator) terms() []corev1.PodAffinityTerm {
	t := corev1.PodAffinityTerm{TopologyKey: g.topology(), LabelSelector: g.selector()}
	switch g.IntN(4) {
	case 0:
		t.Namespaces = []string{"b"}
	case 1:
		t.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	case 2:
		t.NamespaceSelector = &metav1.LabelSelector{}
	}
	return []corev1.PodAffinityTerm{t}
}

func (g *generator) affinity() *corev1.Affinity {
	a := &corev1.Affinity{}
	if g.sometimes(5) {
		a.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: g.terms()}
	}
	if g.sometimes(6) {
		a.PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: g.terms()}
	}
	if g.sometimes(5) {
		a.NodeAffinity = &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpNotIn, Values: []string{"fast"}}}},
			{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"node-01"}}}},
		}}}
	}
	return a
}
