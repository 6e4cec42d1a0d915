// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/scenario"
	"refit.dev/refit/twin/twintest"
)

// TestDocumentedRights gives a user the roles that docs/how-to/rbac.md gives to everybody,
// from the file that it names, and nothing else: everything works that is said to, nothing
// is unread, and what needs a role of its own is refused until the user has that as well.
func TestDocumentedRights(t *testing.T) {
	const user, base = "jane", "documented"
	tw := twintest.Start(t, twin.Options{
		Nodes: 3, Zones: 1, Scenario: "testdata/evictiontimeout.yaml", Wait: true, StaticPods: true,
		NodeLease: 8 * time.Second, NodeMonitorGracePeriod: 10 * time.Second,
	})
	t.Setenv("KUBECONFIG", tw.Kubeconfig())
	t.Setenv(statedir.Env, t.TempDir())
	client := twintest.Client(t, tw)

	data, err := os.ReadFile("../../docs/how-to/refit-maintainer.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The twin has roles of these names for its own users.
	roles, err := scenario.Parse(base, []byte(strings.ReplaceAll(string(data), "name: refit-maintainer", "name: "+base)))
	if err != nil {
		t.Fatal(err)
	}
	if err := roles.Apply(t.Context(), twintest.Config(t, tw)); err != nil {
		t.Fatal(err)
	}
	bind(t, client, user, base)
	if _, err := client.RbacV1().RoleBindings(metav1.NamespaceSystem).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: base},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: base},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitMay(t, client, user, "list", "", "pods")
	awaitMay(t, client, user, "create", "coordination.k8s.io", "leases")

	set := []string{"eviction-timeout", "set", "30s", "-n", "shop", "--workload", "deployment/web", "--yes"}
	for _, s := range []struct {
		name           string
		before         func()
		args           []string
		code           int
		stdout, stderr string // parts
	}{
		{"check", nil, []string{"check"}, exitDone, "", ""},
		{"outage", nil, []string{"outage", "node-02", "--for", "10m", "-o", "json"}, exitDone, `"assumptions": []`, ""},
		{"outage of all", nil, []string{"outage", "--all", "-o", "json"}, exitDone, `"assumptions": []`, ""},
		{"cordon", nil, []string{"cordon", "node-02"}, exitDone, "node/node-02 cordoned\n", ""},
		{"uncordon", nil, []string{"uncordon", "node-02"}, exitDone, "node/node-02 uncordoned\n", ""},
		{"drain", nil, []string{"drain", "node-02", "--ignore-daemonsets", "--force"}, exitDone, "node/node-02 drained\n", ""},
		{"uncordon what was drained", nil, []string{"uncordon", "node-02"}, exitDone, "node/node-02 uncordoned\n", ""},
		{"maintain", nil, []string{"maintain", "node-03", "--reboot", "--force", "--yes"}, exitDone, "node/node-03 maintained\n", ""},
		{"drain a dead node", func() {
			if err := tw.FailNode(t.Context(), "node-03"); err != nil {
				t.Fatal(err)
			}
			untilNode(t, client, "node-03", cluster.Lost)
		}, []string{"drain", "node-03", "--ignore-daemonsets", "--force", "--confirm-node-is-off"}, exitDone, "node/node-03 out-of-service\n", ""},
		{"take it back", func() {
			if err := tw.RecoverNode(t.Context(), "node-03"); err != nil {
				t.Fatal(err)
			}
			untilNode(t, client, "node-03", cluster.Ready)
		}, []string{"uncordon", "node-03"}, exitDone, "node/node-03 in-service\n", ""},
		{"get", nil, []string{"eviction-timeout", "get"}, exitDone, "CronJob/weekly", ""},
		{"set, without the role", nil, set, exitFailed, "", "allow this user to patch it: docs/how-to/rbac.md"},
		{"set, with the role", func() {
			bind(t, client, user, base+"-eviction-timeout")
			awaitMay(t, client, user, "patch", "apps", "statefulsets")
		}, set, exitDone, "Deployment shop/web eviction timeout set to 30s\n", ""},
	} {
		if !t.Run(s.name, func(t *testing.T) {
			if s.before != nil {
				s.before()
			}
			out, errw, code := refit(t, append(s.args, "--as", user)...)
			if code != s.code || !strings.Contains(out, s.stdout) || !strings.Contains(errw, s.stderr) {
				t.Errorf("exit %d, want %d; stdout, with %q in it:\n%s\nstderr, with %q in it:\n%s", code, s.code, s.stdout, out, s.stderr, errw)
			}
			if strings.Contains(out+errw, "may not be read") || strings.Contains(out, "unread-resource") {
				t.Errorf("something may not be read:\n%s%s", out, errw)
			}
		}) {
			return // they build on each other
		}
	}
}

// bind gives a user a ClusterRole.
func bind(t *testing.T, client kubernetes.Interface, user, role string) {
	t.Helper()
	if _, err := client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user + "-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// awaitMay waits until the API server knows that a user has a right in namespace kube-system.
func awaitMay(t *testing.T, client kubernetes.Interface, user, verb, group, resource string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		review, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: group, Resource: resource, Namespace: metav1.NamespaceSystem},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed {
			return
		}
		<-ticker.C
	}
}
