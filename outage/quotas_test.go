// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/outage"
)

// TestQuotas: a quota is named if it leaves too little room for what is to be made in its
// namespace, and no other one.
func TestQuotas(t *testing.T) {
	s := build(t, "node a\nnode b\ndeployment web on=a*3,b cpu=1\nstatefulset db on=a\npod tool on=a")
	p, _ := outage.ReadParameters(s)
	for _, tc := range []struct {
		name, namespace, resource, hard, used string
		says                                  string
	}{
		{"full", "shop", "pods", "6", "6", "the 3 pods to be made there (pods: 6 of 6 are used, and 3 more asked for)"},
		{"over", "shop", "count/pods", "5", "6", "(count/pods: 6 of 5 are used"},
		{"not enough", "shop", "requests.cpu", "6500m", "4", "(requests.cpu: 4 of 6500m are used, and 3 more asked for)"},
		{"by its old name", "shop", "cpu", "6", "4", "(cpu: 4 of 6 are used"},
		{"enough", "shop", "pods", "9", "6", ""},
		{"of something else", "shop", "services", "1", "1", ""},
		{"of a resource that they do not ask for", "shop", "requests.memory", "1", "1", ""},
		{"elsewhere", "other", "pods", "6", "6", ""},
	} {
		name := corev1.ResourceName(tc.resource)
		q := corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: tc.namespace, Name: "q"}, Status: corev1.ResourceQuotaStatus{
			Hard: corev1.ResourceList{name: resource.MustParse(tc.hard)}, Used: corev1.ResourceList{name: resource.MustParse(tc.used)},
		}}
		for _, scoped := range []bool{false, true} {
			if scoped {
				q.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
			}
			f, err := outage.Predict(s, p, outage.Request{Nodes: []string{"a"}, Quotas: []corev1.ResourceQuota{q}})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(f.Remarks, func(r string) bool { return strings.Contains(r, "ResourceQuota") })
			switch {
			case i < 0 && tc.says != "":
				t.Errorf("%s: nothing is said of it", tc.name)
			case i < 0:
			case tc.says == "", !strings.Contains(strings.Replace(f.Remarks[i], ", if its scopes are about them", "", 1), tc.says), scoped != strings.Contains(f.Remarks[i], "scopes"):
				t.Errorf("%s: %s", tc.name, f.Remarks[i])
			}
		}
	}
}

// TestQuotasAfterwards: what is made only when the pod before it is gone takes over its share,
// unless that did not count any more; limits are not judged, which is said.
func TestQuotasAfterwards(t *testing.T) {
	out := "node a ready=Unknown since=900 taint=node.kubernetes.io/unreachable:890,node.kubernetes.io/out-of-service:?\nnode b\n"
	const little, none, unjudged = "too little room for the 1 pod", "", "no room left for limits (limits.memory: 4 of 4 are used)"
	for _, tc := range []struct {
		name, cluster, resource, hard, used, says string
	}{
		{"of a StatefulSet", out + "statefulset db on=a,b", "pods", "2", "2", none},
		{"of a Job that waits", out + "job sum on=a after-end", "pods", "2", "2", none},
		{"of a ReplicaSet", out + "deployment web on=a,b", "pods", "2", "2", little},
		{"over as it is", out + "statefulset db on=a,b", "pods", "2", "3", little},
		{"deleted a short time ago", out + "statefulset db on=a deleted=50", "pods", "2", "2", none},
		{"deleted long ago", out + "statefulset db on=a deleted=70", "pods", "2", "2", little},
		{"huge pages", "node a\nnode b\ndeployment web on=a cpu=1", "hugepages-2Mi", "2", "2", none},
		{"limits", "node a\nnode b\ndeployment web on=a", "limits.memory", "4", "4", unjudged},
		{"limits with room", "node a\nnode b\ndeployment web on=a", "limits.memory", "4", "3", none},
		{"limits of a StatefulSet", out + "statefulset db on=a,b", "limits.memory", "4", "4", none},
	} {
		s := build(t, tc.cluster)
		p, _ := outage.ReadParameters(s)
		name := corev1.ResourceName(tc.resource)
		q := corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "q"}, Status: corev1.ResourceQuotaStatus{
			Hard: corev1.ResourceList{name: resource.MustParse(tc.hard)}, Used: corev1.ResourceList{name: resource.MustParse(tc.used)},
		}}
		f, err := outage.Predict(s, p, outage.Request{Nodes: []string{"a"}, Quotas: []corev1.ResourceQuota{q}})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(f.Remarks, func(r string) bool { return strings.Contains(r, "ResourceQuota") })
		switch {
		case i < 0 && tc.says != none:
			t.Errorf("%s: nothing is said of it", tc.name)
		case i >= 0 && (tc.says == none || !strings.Contains(f.Remarks[i], tc.says)):
			t.Errorf("%s: %s", tc.name, f.Remarks[i])
		}
	}
}
