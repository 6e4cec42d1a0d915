// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
	"refit.dev/refit/twin/twintest"
	"refit.dev/refit/witness"
)

const namespace = "default"

// stage is a real control plane with a Deployment of three pods, of whose
// budget one may be unavailable.
type stage struct {
	t      *testing.T
	ctx    context.Context
	tw     *twin.Twin
	client kubernetes.Interface
}

func newStage(t *testing.T) *stage {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	tw := twintest.Start(t, twin.Options{Nodes: 3, PodReady: 200 * time.Millisecond})
	s := &stage{t, ctx, tw, twintest.Client(t, tw)}
	labels := map[string]string{"app": "cart"}
	_, err := s.client.AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "cart"},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](3), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/c"}}},
			},
		},
	}, metav1.CreateOptions{})
	s.must(err)
	_, err = s.client.PolicyV1().PodDisruptionBudgets(namespace).Create(ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "cart"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
		},
	}, metav1.CreateOptions{})
	s.must(err)
	s.until("the budget lets a pod go", s.allowed)
	return s
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) until(what string, done func() (bool, error)) {
	s.t.Helper()
	err := wait.PollUntilContextCancel(s.ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) { return done() })
	if err != nil {
		s.t.Fatalf("until %s: %v", what, err)
	}
}

func (s *stage) allowed() (bool, error) {
	pdb, err := s.client.PolicyV1().PodDisruptionBudgets(namespace).Get(s.ctx, "cart", metav1.GetOptions{})
	return err == nil && pdb.Status.DisruptionsAllowed == 1 && pdb.Status.CurrentHealthy == 3, err
}

func (s *stage) pods(node string) []corev1.Pod {
	s.t.Helper()
	options := metav1.ListOptions{LabelSelector: "app=cart"}
	if node != "" {
		options.FieldSelector = "spec.nodeName=" + node
	}
	list, err := s.client.CoreV1().Pods(namespace).List(s.ctx, options)
	s.must(err)
	return list.Items
}

func (s *stage) patchNode(node, patch string) {
	s.t.Helper()
	_, err := s.client.CoreV1().Nodes().Patch(s.ctx, node, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	s.must(err)
}

func (s *stage) cordon(node string, yes bool) {
	s.t.Helper()
	s.patchNode(node, fmt.Sprintf(`{"spec":{"unschedulable":%v}}`, yes))
}

func (s *stage) evict(pod *corev1.Pod) error {
	return s.client.PolicyV1().Evictions(namespace).Evict(s.ctx, &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod.Name},
	})
}

func (s *stage) watch() *witness.Witness {
	s.t.Helper()
	w, err := witness.Start(s.ctx, witness.Options{
		Config: twintest.Config(s.t, s.tw), AuditLog: s.tw.AuditLog(), ControlPlane: []string{"refit-twin:system"},
	})
	s.must(err)
	return w
}

func (s *stage) judge(w *witness.Witness) *witness.Verdict {
	s.t.Helper()
	v, err := w.Judge(s.ctx)
	s.must(err)
	return v
}

// TestRealBreach deletes two pods behind a budget that lets one go. Replacements
// find no node, so that the budget cannot recover in between.
func TestRealBreach(t *testing.T) {
	s := newStage(t)
	nodes, err := s.client.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{})
	s.must(err)
	for _, node := range nodes.Items {
		s.cordon(node.Name, true)
	}
	w := s.watch()
	pods := s.pods("")
	for _, pod := range pods[:2] {
		s.must(s.client.CoreV1().Pods(namespace).Delete(s.ctx, pod.Name, metav1.DeleteOptions{}))
	}
	v := s.judge(w)
	if len(v.Broken) != 1 || v.BrokenBudgets() != 1 {
		t.Fatalf("broken: %+v", v.Broken)
	}
	b := v.Broken[0]
	if b.Budget != "default/cart" || b.Healthy != 1 || b.Required != 2 || b.How != witness.Deletion || b.By != "refit-twin:admin" ||
		b.Pod != namespace+"/"+pods[1].Name {
		t.Errorf("breach %+v", b)
	}
	if len(v.Deletions) != 2 || v.Evictions != 0 || len(v.Dips) != 1 {
		t.Errorf("deletions %+v, %d evictions, dips %+v", v.Deletions, v.Evictions, v.Dips)
	}
}

// TestRealMaintenance takes all nodes through maintenance by hand, in the way
// it should be done, and then one in the way it should not.
func TestRealMaintenance(t *testing.T) {
	s := newStage(t)
	nodes, err := s.client.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{})
	s.must(err)
	w := s.watch()
	refused := 0
	for _, node := range nodes.Items {
		s.cordon(node.Name, true)
		s.until("the node is empty", func() (bool, error) {
			pods := s.pods(node.Name)
			for i := range pods {
				switch err := s.evict(&pods[i]); {
				case apierrors.IsTooManyRequests(err):
					refused++
				case err != nil && !apierrors.IsNotFound(err):
					return false, err
				}
			}
			return len(pods) == 0, nil
		})
		s.reboot(node.Name)
		s.cordon(node.Name, false)
		s.until("the budget has recovered", s.allowed)
	}
	v := s.judge(w)
	if faults := v.Faults(); len(faults) != 0 || len(v.Dips) != 0 || v.Maintained() != 3 || v.BrokenBudgets() != 0 {
		t.Errorf("faults %q, dips %v, %d nodes maintained", faults, v.Dips, v.Maintained())
	}
	// client-go waits and asks again by itself when it is told to, so there may be more refusals.
	if v.Evictions < 3 || v.Replicas != 3 || v.Refused < refused || v.Busiest.Out != 1 {
		t.Errorf("%d evictions of %d pods, %d refused, busiest %+v", v.Evictions, v.Replicas, v.Refused, v.Busiest)
	}
	for _, h := range v.Nodes {
		if h.Cordons != 1 || h.Uncordons != 1 || h.Reboots != 1 || len(h.Steps) != 5 {
			t.Errorf("node %+v", h)
		}
	}

	w = s.watch()
	victim := s.pods("")[0].Spec.NodeName
	s.cordon(victim, true)
	s.reboot(victim)
	faults := s.judge(w).Faults()
	if !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, "node "+victim+" went down with pod") }) ||
		!slices.Contains(faults, "node "+victim+" was left cordoned") {
		t.Errorf("faults %q", faults)
	}
}

func (s *stage) reboot(node string) {
	s.t.Helper()
	s.patchNode(node, fmt.Sprintf(`{"metadata":{"annotations":{%q:"boot-of-%s-%d"}}}`, simulated.RebootAnnotation, node, time.Now().UnixNano()))
	s.until("the node is back", func() (bool, error) {
		n, err := s.client.CoreV1().Nodes().Get(s.ctx, node, metav1.GetOptions{})
		return err == nil && n.Status.NodeInfo.BootID == n.Annotations[simulated.RebootAnnotation] &&
			n.Labels[simulated.KubeletLabel] == simulated.KubeletRunning, err
	})
}

// TestRealDoubt: without the audit log's lines there is no verdict.
func TestRealDoubt(t *testing.T) {
	s := newStage(t)
	elsewhere := t.TempDir() + "/audit.log"
	s.must(os.WriteFile(elsewhere, nil, 0o600))
	w, err := witness.Start(s.ctx, witness.Options{Config: twintest.Config(t, s.tw), AuditLog: elsewhere})
	s.must(err)
	pod := s.pods("")[0]
	s.must(s.evict(&pod))
	if v, err := w.Judge(s.ctx); err == nil || !strings.Contains(err.Error(), "the audit log does not say why") {
		t.Errorf("verdict %+v, error %v", v, err)
	}
}
