// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"refit.dev/refit/twin/scenario"
	"refit.dev/refit/twin/simulated"
)

// nodeWriters is how many nodes are created at the same time.
const nodeWriters = 16

// populate makes an empty cluster the one that o describes, and returns when
// its nodes are Ready and without taints. p is where its control plane listens.
func (t *Twin) populate(ctx context.Context, cfg *rest.Config, o Options, p ports) error {
	ctx, stop := t.watchOver(ctx)
	defer stop()
	for _, name := range []string{"base.yaml", "maintainer.yaml"} {
		data, err := manifests.ReadFile("manifests/" + name)
		if err != nil {
			return err
		}
		set, err := scenario.Parse(name, data)
		if err != nil {
			return err
		}
		if err := set.Apply(ctx, cfg); err != nil {
			return err
		}
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(nodeWriters)
	for i := range o.Nodes {
		group.Go(func() error {
			node := newNode(o, i)
			_, err := client.CoreV1().Nodes().Create(groupCtx, node, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("create node %s: %w", node.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if o.StaticPods {
		if err := t.showControlPlane(ctx, client, o, p); err != nil {
			return err
		}
	}
	return awaitNodes(ctx, cfg, o.Nodes)
}

// newNode returns the i-th node, from 0, with what its kubelet would report.
func newNode(o Options, i int) *corev1.Node {
	name := NodeName(i, o.Nodes)
	zone := zoneName(i % o.Zones)
	resources := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse(o.NodeCPU),
		corev1.ResourceMemory:           resource.MustParse(o.NodeMemory),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
		corev1.ResourcePods:             *resource.NewQuantity(int64(o.NodePods), resource.DecimalSI),
	}
	podCIDR := nodeCIDR(i)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname:             name,
				corev1.LabelOSStable:             "linux",
				corev1.LabelArchStable:           "amd64",
				corev1.LabelTopologyZone:         zone,
				corev1.LabelTopologyRegion:       "twin",
				"node-role.kubernetes.io/worker": "",
				simulated.KubeletLabel:           simulated.KubeletRunning,
				simulated.TendedLabel:            "true", // it was never dead
			},
			Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
		},
		Spec: corev1.NodeSpec{
			PodCIDR: podCIDR, PodCIDRs: []string{podCIDR}, ProviderID: "twin://" + zone + "/" + name,
		},
		Status: corev1.NodeStatus{
			Capacity: resources, Allocatable: resources,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: nodeIP(i)},
				{Type: corev1.NodeHostName, Address: name},
			},
			NodeInfo: corev1.NodeSystemInfo{
				MachineID:               strings.ReplaceAll(string(uuid.NewUUID()), "-", ""),
				SystemUUID:              string(uuid.NewUUID()),
				BootID:                  string(uuid.NewUUID()),
				KernelVersion:           "6.12.0-twin",
				OSImage:                 "Simulated Linux",
				OperatingSystem:         "linux",
				Architecture:            "amd64",
				ContainerRuntimeVersion: "containerd://2.1.0",
				KubeletVersion:          releaseOf(o.Kubernetes).Kubelet,
			},
		},
	}
}

// NodeName returns the name of the i-th of n nodes, from 0: node-01, node-02,
// ... with as many digits as sort well, at least two.
func NodeName(i, n int) string {
	return fmt.Sprintf("node-%0*d", max(2, len(fmt.Sprint(n))), i+1)
}

// zoneName returns the name of the i-th zone, from 0: zone-a to zone-z, then zone-27 ...
func zoneName(i int) string {
	if i < 26 {
		return "zone-" + string(rune('a'+i))
	}
	return fmt.Sprintf("zone-%d", i+1)
}

// nodeCIDR gives each node 254 pod addresses in 10.128.0.0/9; nodeIP its own in 10.64.0.0/12.
func nodeCIDR(i int) string { return fmt.Sprintf("10.%d.%d.0/24", 128+i/256, i%256) }
func nodeIP(i int) string   { return fmt.Sprintf("10.%d.%d.%d", 64, i/250, i%250+1) }

// awaitNodes waits until n nodes with running kubelets are Ready and without
// the taints of a node that is not; nodes that were broken on purpose do not count.
func awaitNodes(ctx context.Context, cfg *rest.Config, n int) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "nodes", "", fields.Everything())
	waiting := map[string]bool{}
	seen := map[string]bool{}
	_, err = watchtools.UntilWithSync(ctx, lw, &corev1.Node{}, func(store cache.Store) (bool, error) {
		for _, obj := range store.List() {
			node := obj.(*corev1.Node)
			seen[node.Name] = true
			waiting[node.Name] = !settled(node)
		}
		return done(seen, waiting, n), nil
	}, func(e watch.Event) (bool, error) {
		node, ok := e.Object.(*corev1.Node)
		if !ok {
			return false, nil
		}
		seen[node.Name] = true
		waiting[node.Name] = e.Type != watch.Deleted && !settled(node)
		return done(seen, waiting, n), nil
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // the wait itself only says that it timed out
	}
	if err != nil {
		return fmt.Errorf("wait for the nodes: %w", err)
	}
	return nil
}

func done(seen, waiting map[string]bool, n int) bool {
	for _, w := range waiting {
		if w {
			return false
		}
	}
	return len(seen) >= n
}

// settled says whether the node is as it will stay: Ready and untainted, or broken on purpose.
func settled(node *corev1.Node) bool {
	if node.Labels[simulated.KubeletLabel] != simulated.KubeletRunning {
		return true
	}
	for _, t := range node.Spec.Taints {
		if t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable {
			return false
		}
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
