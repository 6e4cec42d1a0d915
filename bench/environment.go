// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
)

// settleTimeout bounds every wait for a state that the twin reaches by itself.
const settleTimeout = 5 * time.Minute

// bench is what the benchmarks share.
type bench struct {
	bin                string // absolute
	rounds, longRounds int
	state              string // state directory of the twins
	vault              vaultScale
}

func newBench(bin string, rounds, longRounds int) (*bench, error) {
	abs, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"refit", "refit-twin"} {
		if _, err := os.Stat(filepath.Join(abs, program)); err != nil {
			return nil, fmt.Errorf("%w: run `make build` first", err)
		}
	}
	if err := os.Setenv("REFIT_TWIN", filepath.Join(abs, "refit-twin")); err != nil {
		return nil, err
	}
	state, err := os.MkdirTemp("", "refit-bench-")
	if err != nil {
		return nil, err
	}
	return &bench{bin: abs, rounds: rounds, longRounds: longRounds, state: state}, nil
}

func (b *bench) close() {
	if err := os.RemoveAll(b.state); err != nil {
		b.logf("remove %s: %v", b.state, err)
	}
}

func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

const twinName = "bench"

// environment is a running twin with the programs that are measured on it.
type environment struct {
	*bench
	twin   *twin.Twin
	client kubernetes.Interface
	audit  auditCursor
}

// start brings up a twin with a manifest and waits until its pods are Ready.
func (b *bench) start(ctx context.Context, manifest []byte, options twin.Options) (*environment, error) {
	file := filepath.Join(b.state, "scenario.yaml")
	if err := os.WriteFile(file, manifest, 0o600); err != nil {
		return nil, fmt.Errorf("write the scenario: %w", err)
	}
	options.Name, options.StateDir, options.Scenario = twinName, b.state, file
	options.NodePods = 200
	options.Tied, options.Wait = true, true
	t, err := twin.Up(ctx, options, func(string) {})
	if err != nil {
		return nil, err
	}
	e := &environment{bench: b, twin: t, audit: auditCursor{path: t.AuditLog()}}
	config, err := t.RESTConfig()
	if err != nil {
		return nil, e.stop(ctx, err)
	}
	config.UserAgent = "bench"
	if e.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, e.stop(ctx, err)
	}
	return e, nil
}

// stop takes the twin down, also after an interrupt, and returns err with what failed in doing so.
func (e *environment) stop(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return errors.Join(err, e.twin.Down(ctx))
}

func (e *environment) refit(ctx context.Context, args ...string) (sample, error) {
	return e.measure(ctx, "refit/", e.refitArgs(args))
}

func (e *environment) refitArgs(args []string) []string {
	return append([]string{filepath.Join(e.bin, "refit"), "--kubeconfig", e.twin.Kubeconfig()}, args...)
}

// stateDir is the variable that has refit keep its runs away from those of its user.
func (e *environment) stateDir() string { return "REFIT_STATE_DIR=" + e.state }

func (e *environment) kubectl(ctx context.Context, args ...string) (sample, error) {
	program := []string{filepath.Join(e.bin, "refit-twin"), "kubectl", "--kubeconfig", e.twin.Kubeconfig()}
	return e.measure(ctx, "kubectl/", append(program, args...))
}

func (e *environment) measure(ctx context.Context, agent string, argv []string) (sample, error) {
	if err := e.audit.skip(); err != nil {
		return sample{}, err
	}
	s, err := command(ctx, argv, e.stateDir())
	if err != nil {
		return s, err
	}
	s.requests, err = e.audit.count(agent)
	return s, err
}

// kubectlLoop does what a runbook says: node by node drain, reboot, wait, uncordon.
func (e *environment) kubectlLoop(ctx context.Context) (sample, error) {
	nodes, err := e.nodes(ctx)
	if err != nil {
		return sample{}, err
	}
	var total sample
	for _, node := range nodes {
		for _, step := range []func() (sample, error){
			func() (sample, error) { return e.kubectl(ctx, "drain", node, "--ignore-daemonsets") },
			func() (sample, error) { return e.reboot(ctx, node) },
			func() (sample, error) { return e.kubectl(ctx, "uncordon", node) },
		} {
			s, err := step()
			if err != nil {
				return total, err
			}
			total = total.add(s)
		}
	}
	return total, nil
}

// reboot restarts a simulated machine and waits until its node is Ready again.
func (e *environment) reboot(ctx context.Context, node string) (sample, error) {
	start := time.Now()
	id := string(uuid.NewUUID())
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, simulated.RebootAnnotation, id)
	if _, err := e.client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return sample{}, fmt.Errorf("reboot %s: %w", node, err)
	}
	err := e.until(ctx, node+" is back", func() (bool, error) {
		n, err := e.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return cluster.Ready(n) && n.Status.NodeInfo.BootID == id, nil
	})
	return sample{wall: time.Since(start)}, err
}

// nodes returns the names of all nodes, sorted by the API server.
func (e *environment) nodes(ctx context.Context) ([]string, error) {
	list, err := e.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	names := make([]string, len(list.Items))
	for i, n := range list.Items {
		names[i] = n.Name
	}
	return names, nil
}

// gather moves all pods to the node full.
func (e *environment) gather(ctx context.Context, full, empty string, pods int) error {
	if _, err := e.kubectl(ctx, "drain", empty, "--ignore-daemonsets"); err != nil {
		return err
	}
	if err := e.settled(ctx, full, pods); err != nil {
		return err
	}
	_, err := e.kubectl(ctx, "uncordon", empty)
	return err
}

// settled waits until all pods are Ready on node and the budgets have been looked at again.
func (e *environment) settled(ctx context.Context, node string, pods int) error {
	return e.until(ctx, fmt.Sprintf("%d pods are Ready on %s", pods, node), func() (bool, error) {
		list, err := e.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		if countReady(list.Items, node) != pods || len(list.Items) != pods {
			return false, nil
		}
		budgets, err := e.client.PolicyV1().PodDisruptionBudgets(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for _, b := range budgets.Items {
			if b.Status.CurrentHealthy != b.Status.ExpectedPods || len(b.Status.DisruptedPods) > 0 {
				return false, nil
			}
		}
		return true, nil
	})
}

// allReady says whether all is as it was: so many pods, each of them Ready.
func (e *environment) allReady(ctx context.Context, pods int) error {
	return e.until(ctx, fmt.Sprintf("%d pods are Ready", pods), func() (bool, error) {
		list, err := e.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		return countReady(list.Items, "") == pods && len(list.Items) == pods, nil
	})
}

// countReady counts the pods that are Ready; on that node, if one is named.
func countReady(pods []corev1.Pod, node string) int {
	ready := 0
	for i := range pods {
		if p := &pods[i]; (node == "" || p.Spec.NodeName == node) && budget.Healthy(p) {
			ready++
		}
	}
	return ready
}

// until asks again and again whether something is the case; how often does not
// matter, since the time between two measurements is not measured, but for a
// reboot, where it is short against the reboot.
func (e *environment) until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}
