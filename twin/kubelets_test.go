// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// watchLag is how much later than what they list the kubelets of
// TestKubeletsStartAgain see what changes: longer than they take to start.
const watchLag = time.Second

// TestKubeletsStartAgain kills the simulated kubelets and deletes pods before
// the next ones start, which see changes late: they end all of the pods. (When
// kwok took part in who holds a node's lease, it looked at the pods of a node
// once, and skipped them if it had not yet seen its own lease. The order in
// which it starts its parts is random, hence the rounds.)
func TestKubeletsStartAgain(t *testing.T) {
	ctx := testContext(t)
	tw := twintest.Start(t, twin.Options{Nodes: 2, Scenario: "testdata/web.yaml", Wait: true})
	client := twintest.Client(t, tw)
	lagging(t, filepath.Join(tw.Dir(), "kwok.kubeconfig"))
	for round := range 5 {
		kubelets := status(t, ctx, tw).Parts[4]
		if err := syscall.Kill(kubelets.PID, syscall.SIGKILL); err != nil || kubelets.Name != "kwok" {
			t.Fatalf("kill %s: %v", kubelets.Name, err)
		}
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.CoreV1().Pods("default").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		gone := map[types.UID]bool{}
		for _, p := range pods.Items {
			gone[p.UID] = true
		}
		eventually(t, ctx, "the deleted pods are gone, others are ready", func() bool {
			pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ready := 0
			for i := range pods.Items {
				if !gone[pods.Items[i].UID] && podReady(&pods.Items[i]) {
					ready++
				}
			}
			return ready == 3 && len(pods.Items) == 3
		})
		t.Logf("round %d: done", round+1)
	}
}

// TestHalfDeletedPod stops a deletion between its two writes, as the death of the
// API server or of the kubelets does: the grace period is 0 and the pod is still
// there. The next kubelets end it.
func TestHalfDeletedPod(t *testing.T) {
	ctx := testContext(t)
	tw := twintest.Start(t, twin.Options{Nodes: 1, Scenario: "testdata/web.yaml", Wait: true})
	client := twintest.Client(t, tw)
	pods := client.CoreV1().Pods("default")
	// The policy is asked before each of the two writes. It also refuses the
	// deletion of a pod that only tells when the policy is in force.
	probe := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "probe"},
		Spec:       corev1.PodSpec{SchedulerName: "nobody", Containers: []corev1.Container{{Name: "c", Image: "c:1"}}},
	}
	if _, err := pods.Create(ctx, probe, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	inForce := func() bool {
		err := pods.Delete(ctx, "probe", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && !strings.Contains(err.Error(), "half-way") {
			t.Fatal(err)
		}
		return err != nil
	}
	remove := halfWay(t, ctx, client)
	eventually(t, ctx, "the policy is in force", inForce)

	list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	name, uid := list.Items[0].Name, list.Items[0].UID
	if err := pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the pod is half deleted", func() bool {
		p, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return p.UID == uid && p.DeletionGracePeriodSeconds != nil && *p.DeletionGracePeriodSeconds == 0
	})
	remove()
	eventually(t, ctx, "the policy is gone", func() bool { return !inForce() })
	if err := syscall.Kill(status(t, ctx, tw).Parts[4].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the pod is gone", func() bool {
		_, err := pods.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// halfWay makes the API server refuse the second write of every deletion of a
// pod, and returns what takes that back.
func halfWay(t *testing.T, ctx context.Context, client kubernetes.Interface) (remove func()) {
	t.Helper()
	api, meta := client.AdmissionregistrationV1(), metav1.ObjectMeta{Name: "half-way"}
	_, err := api.ValidatingAdmissionPolicies().Create(ctx, &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: meta,
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Delete},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: "oldObject.metadata.name != 'probe' && " +
				"!(has(oldObject.metadata.deletionGracePeriodSeconds) && oldObject.metadata.deletionGracePeriodSeconds == 0)"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.ValidatingAdmissionPolicyBindings().Create(ctx, &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: meta,
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: meta.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := api.ValidatingAdmissionPolicyBindings().Delete(ctx, meta.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// lagging puts a proxy between the API server and the client of a kubeconfig,
// through which watches begin late.
func lagging(t *testing.T, kubeconfig string) {
	t.Helper()
	direct, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(direct)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(direct.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(server) },
		Transport:     transport,
		FlushInterval: -1, // events are passed on as they come
	}
	lag := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("watch") {
			select {
			case <-time.After(watchLag):
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { lag.CloseClientConnections(); lag.Close() })
	cfg, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cfg.Clusters {
		c.Server, c.CertificateAuthorityData = lag.URL, nil
	}
	if err := clientcmd.WriteToFile(*cfg, kubeconfig); err != nil {
		t.Fatal(err)
	}
}
