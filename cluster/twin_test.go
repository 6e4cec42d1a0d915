// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/cluster"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// TestOnARealControlPlane reads and watches the shop of the embedded cluster.
func TestOnARealControlPlane(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Scenario: "shop", Wait: true})
	client := twintest.Client(t, tw)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // guards against a hang
	defer cancel()

	t.Run("read and watch agree", func(t *testing.T) {
		s, err := cluster.Read(ctx, client)
		if err != nil {
			t.Fatal(err)
		}
		if s.ResourceVersion == "" || len(s.Unread) != 0 || len(s.Nodes) != 12 || s.Server != "v1.37.2" || s.Emulated != "" {
			t.Errorf("version %q, unread %v, %d nodes, server %q %q", s.ResourceVersion, s.Unread, len(s.Nodes), s.Server, s.Emulated)
		}
		w, err := cluster.Watch(ctx, client)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		for cluster.Draw(w.Snapshot()) != cluster.Draw(s) { // until the shop stands still
			if s, err = cluster.Read(ctx, client); err != nil {
				t.Fatalf("the last of them: %v", err)
			}
		}
	})
	t.Run("a snapshot is one moment", func(t *testing.T) { oneMoment(ctx, t, client) })
	t.Run("with a maintainer's rights", func(t *testing.T) {
		config, err := clientcmd.BuildConfigFromFlags("", tw.MaintainerKubeconfig())
		if err != nil {
			t.Fatal(err)
		}
		maintainer := cluster.ClientFor(t, config)
		s, err := cluster.Read(ctx, maintainer)
		if err != nil {
			t.Fatal(err)
		}
		w, err := cluster.Watch(ctx, maintainer)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		codes := func(all []cluster.Finding) (names []string) {
			for _, f := range all {
				names = append(names, f.Object.Name)
			}
			return names
		}
		if read, watched := codes(s.Unread), codes(w.Snapshot().Unread); !slices.Equal(read, watched) {
			t.Errorf("could not read %v, could not watch %v", read, watched)
		}
	})
	t.Run("a pod that is replaced", func(t *testing.T) { replaced(ctx, t, client) })
}

// oneMoment reads while somebody counts up a label, first of a node and then of
// a budget. In one moment the node is ahead by one or not at all; lists of
// different moments, nodes first, show the budget ahead.
func oneMoment(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	counted := make(chan error, 1)
	go func() {
		defer cancel() // nobody waits for changes that do not come
		counted <- func() error {
			for i := 1; ; i++ {
				patch := fmt.Appendf(nil, `{"metadata":{"labels":{"count":"%d"}}}`, i)
				if _, err := client.CoreV1().Nodes().Patch(ctx, "node-01", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
					return err
				}
				if _, err := client.PolicyV1().PodDisruptionBudgets("shop").Patch(ctx, "storefront", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
					return err
				}
			}
		}()
	}()
	last := 0
	for reads := 0; reads < 40 || last < 10; reads++ { // enough has to change meanwhile
		s, err := cluster.Read(ctx, client, cluster.WithKinds(cluster.KindNode, cluster.KindBudget))
		if err != nil {
			t.Error(err)
			break
		}
		budget := slices.IndexFunc(s.Budgets, func(b *cluster.Budget) bool { return b.Namespace == "shop" && b.Name == "storefront" })
		node, _ := strconv.Atoi(s.Node("node-01").Labels["count"])
		count, _ := strconv.Atoi(s.Budgets[budget].Labels["count"])
		if s.ResourceVersion == "" || node-count < 0 || node-count > 1 {
			t.Errorf("at version %q the node is at %d, the budget at %d", s.ResourceVersion, node, count)
		}
		last = node
	}
	cancel()
	if err := <-counted; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// replaced looks at a pod that is deleted and made again under its name.
func replaced(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	t.Helper()
	w, err := cluster.Watch(ctx, client, cluster.WithKinds(cluster.KindPod))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	s := w.Subscribe()
	defer s.Close()
	pods := client.CoreV1().Pods("default")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "again"}, Spec: corev1.PodSpec{
		NodeName: "node-01", Containers: []corev1.Container{{Name: "c", Image: "x:1", Env: []corev1.EnvVar{{Name: "SECRET", Value: "x"}}}},
	}}
	var want, got []cluster.Change
	for range 2 {
		made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := pods.Delete(ctx, "again", *metav1.NewDeleteOptions(0)); err != nil {
			t.Fatal(err)
		}
		want = append(want, cluster.Change{cluster.KindPod, "default", "again", made.UID, cluster.Added, ""}, cluster.Change{cluster.KindPod, "default", "again", made.UID, cluster.Deleted, ""})
	}
	for len(got) < len(want) {
		select {
		case <-s.Ready():
			for _, c := range s.Take() {
				if c.Name == "again" && c.Verb != cluster.Updated {
					got = append(got, c)
				}
				if p := w.Pod("default", "again"); p != nil && p.Spec.Containers[0].Env != nil {
					t.Error("what a container is given is kept")
				}
			}
		case <-ctx.Done():
			t.Fatalf("only %v", got)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("changes %v, want %v", got, want)
	}
}
