// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/provider"
	"refit.dev/refit/twin"
)

// replaceSite is a twin whose nodes are machines of a simulated provider.
type replaceSite struct {
	*site
	books string
}

func newReplaceSite(t *testing.T, nodes int) *replaceSite {
	t.Helper()
	s := &replaceSite{site: newSite(t, twin.Options{Nodes: nodes, Scenario: "testdata/small.yaml", Wait: true}), books: t.TempDir()}
	s.grant(t)
	s.enrol(t)
	return s
}

// grant gives the operator the documented rights beyond those of maintenance.
func (s *replaceSite) grant(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile("../docs/how-to/refit-replace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rbac := s.admin.RbacV1()
	user := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "refit-twin:maintainer"}}
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		var role rbacv1.ClusterRole // a Role has the same fields
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: role.Kind, Name: role.Name}
		meta := metav1.ObjectMeta{Name: role.Name, Namespace: role.Namespace}
		switch role.Kind {
		case "ClusterRole":
			_, err = rbac.ClusterRoles().Create(t.Context(), &role, metav1.CreateOptions{})
			if err == nil {
				_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: user}, metav1.CreateOptions{})
			}
		case "Role":
			_, err = rbac.Roles(role.Namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: role.Rules}, metav1.CreateOptions{})
			if err == nil {
				_, err = rbac.RoleBindings(role.Namespace).Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: user}, metav1.CreateOptions{})
			}
		default:
			t.Errorf("a %q", role.Kind)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// enrol writes all nodes of the twin into new books.
func (s *replaceSite) enrol(t *testing.T) {
	t.Helper()
	b, done, err := s.simulator("").open()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	*b = books{Serial: b.Serial}
	for _, name := range s.names(t) {
		b.Serial++
		b.Machines = append(b.Machines, provider.Machine{ID: fmt.Sprintf("vm-%d", b.Serial), Node: name})
	}
}

func (s *replaceSite) simulator(trouble string) simulator {
	return simulator{Dir: s.books, Kubeconfig: s.twin.Kubeconfig(), Trouble: trouble}
}

func (s *replaceSite) request(t *testing.T, trouble string, join provider.Joining, surge int, names ...string) UpgradeRequest {
	t.Helper()
	timeouts := DefaultTimeouts()
	for _, d := range []*metav1.Duration{&timeouts.Drain, &timeouts.Ready, &timeouts.Recover, &timeouts.Stall} {
		d.Duration = 5 * time.Minute // a guard against hanging
	}
	if trouble == "never joins" {
		timeouts.Ready.Duration = 3 * time.Second
	}
	version := s.node(t, names[0]).Status.NodeInfo.KubeletVersion
	return UpgradeRequest{
		Upgrade: Upgrade{
			To: version, Stages: []Stage{{Role: Workers, Version: version, Nodes: slices.Sorted(slices.Values(names))}},
			Replace: &Replace{Surge: surge, Provider: s.simulator(trouble).config(join)},
		},
		Drain: Drain{IgnoreDaemonSets: true}, Timeouts: timeouts, MaxUnavailable: ShareOf(surge),
	}
}

func (s *replaceSite) replace(t *testing.T, r UpgradeRequest) Outcome {
	t.Helper()
	p, err := s.operator.PrepareUpgrade(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// balanced fails unless the cluster has one Ready node for each machine in the books, and no other,
// so many of them, and none was made or removed twice.
func (s *replaceSite) balanced(t *testing.T, machines int) {
	t.Helper()
	b := s.simulator("").read(t)
	var nodes []string
	for _, m := range b.Machines {
		nodes = append(nodes, m.Node)
	}
	slices.Sort(nodes)
	if names := s.names(t); !slices.Equal(nodes, names) || len(nodes) != machines {
		t.Errorf("machines are of nodes %v, the cluster has %v; want %d", nodes, names, machines)
	}
	for what, list := range map[string][]string{"made": b.Created, "removed": b.Deleted} {
		slices.Sort(list)
		if len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%s twice: %v", what, list)
		}
	}
	if len(b.Created) != len(b.Deleted) {
		t.Errorf("made %v, removed %v", b.Created, b.Deleted)
	}
	for _, name := range s.names(t) {
		if n := s.node(t, name); !cluster.Ready(n) || n.Spec.Unschedulable {
			t.Errorf("node %s is not in service", name)
		}
	}
}

func TestTwinReplace(t *testing.T) {
	s := newReplaceSite(t, 4)
	first := s.names(t)

	t.Run("all of them", func(t *testing.T) {
		s.patch(t, first[0], `{"metadata":{"labels":{"pool":"blue","shop.example/tier":"a"}},"spec":{"taints":[{"key":"dedicated","value":"x","effect":"PreferNoSchedule"}]}}`)
		least := s.watchService(t)
		o := s.replace(t, s.request(t, "", provider.JoinOwn, 2, first...))
		if o.Result != event.ResultDone || !strings.Contains(s.taken()[len(s.taken())-1].Message, "4 nodes looked at") {
			t.Fatalf("%+v, %+v", o, s.taken()[len(s.taken())-1])
		}
		if n := least(); n < 4 {
			t.Errorf("there were only %d nodes in service", n)
		}
		s.balanced(t, 4)
		s.clean(t)
		s.whole(t)
		for _, name := range first {
			if slices.Contains(s.names(t), name) {
				t.Errorf("node %s is still there", name)
			}
		}
		fresh := s.node(t, o.Status.Nodes[first[0]].Machine.Node)
		if fresh.Labels["pool"] != "blue" || fresh.Labels["shop.example/tier"] != "a" || fresh.Labels["topology.kubernetes.io/zone"] != "" {
			t.Errorf("labels %v", fresh.Labels)
		}
		if !slices.ContainsFunc(fresh.Spec.Taints, func(x corev1.Taint) bool { return x.Key == "dedicated" && x.Value == "x" }) {
			t.Errorf("taints %v", fresh.Spec.Taints)
		}
	})

	t.Run("with a token", func(t *testing.T) {
		names := s.names(t)
		s.enrol(t)
		s.patch(t, names[0], `{"spec":{"unschedulable":true}}`) // it is replaced by one that is not
		ca := s.authority(t)
		info := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cluster-info", Namespace: "kube-public"}, Data: map[string]string{"kubeconfig": ca}}
		if _, err := s.admin.CoreV1().ConfigMaps("kube-public").Create(t.Context(), info, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		o := s.replace(t, s.request(t, "needs token", provider.JoinKubeadm, 1, names[0]))
		if o.Result != event.ResultDone {
			t.Fatalf("%+v", o)
		}
		s.balanced(t, 4)
		secrets, err := s.admin.CoreV1().Secrets("kube-system").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range secrets.Items {
			if x.Type == corev1.SecretTypeBootstrapToken {
				t.Errorf("token %s is left", x.Name)
			}
		}
		journal, err := os.ReadFile(filepath.Join(s.operator.Store.Dir(o.Run), journalName))
		if err != nil || strings.Contains(string(journal), "token-secret") {
			t.Errorf("%v", err)
		}
	})

	for trouble, want := range map[string]string{
		"refuses":       "quota exceeded",
		"never joins":   "has not joined",
		"wrong version": "has a kubelet of v1.35.4",
		"same machine":  "is that of node",
		"same node":     "which was there before",
		"listed twice":  "is listed twice",
	} {
		t.Run(trouble, func(t *testing.T) {
			names := s.names(t)
			s.enrol(t)
			defer func() { // what it has made is taken away
				for _, name := range s.names(t) {
					if !slices.Contains(names, name) {
						s.remove(t, name)
					}
				}
			}()
			o := s.replace(t, s.request(t, trouble, provider.JoinOwn, 1, names...))
			if o.Result == event.ResultDone || !strings.Contains(fmt.Sprint(reasons(o)), want) {
				t.Errorf("%s: %v", o.Result, reasons(o))
			}
			// Nothing was taken away, and nothing new was begun.
			b := s.simulator("").read(t)
			if len(b.Created) > 1 || len(b.Deleted) > 0 {
				t.Errorf("%+v", b)
			}
			for _, name := range names {
				if n := s.node(t, name); !cluster.Ready(n) || n.Spec.Unschedulable {
					t.Errorf("node %s is not in service", name)
				}
			}
			s.giveUp(t, o.Run, trouble)
			s.clean(t)
		})
	}

	t.Run("an order that goes on", s.orderGoesOn)

	t.Run("fails after it was done", func(t *testing.T) {
		names := s.names(t)
		s.enrol(t)
		if o := s.replace(t, s.request(t, "fails after", provider.JoinOwn, 1, names[0])); o.Result != event.ResultDone {
			t.Errorf("%+v", o)
		}
		s.balanced(t, 4)
	})
}

// orderGoesOn: the command that makes a machine has outlived its refit, which is given up. The machine that it makes then is
// found and removed, and no other one is.
func (s *replaceSite) orderGoesOn(t *testing.T) {
	names := s.names(t)
	s.enrol(t)
	o := s.replace(t, s.request(t, "refuses", provider.JoinOwn, 1, names[0]))
	status, err := s.operator.Store.Read(o.Run)
	if err != nil || len(status.Machines) != 1 || status.Machines[0].Stand != Ordered {
		t.Fatalf("%+v, %v", status, err)
	}
	begun, goOn := filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "go-on")
	for _, pipe := range []string{begun, goOn} {
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	earlier := s.operator.providerOf(status.Spec)
	well := s.simulator("").config(provider.JoinOwn).Create
	earlier.Config.Create = provider.Command{Seconds: 60, Argv: append([]string{"sh", "-c", `echo > "$0"; cat "$1"; shift; exec "$@"`, begun, goOn}, well.Argv...)}
	made := make(chan error, 1)
	go func() {
		_, err := earlier.Create(t.Context(), provider.Order{Run: o.Run, Key: status.Machines[0].Machine.Key, Version: status.Spec.Upgrade.To, Like: status.Spec.Upgrade.Replace.Machines[names[0]]})
		made <- err
	}()
	if _, err := os.ReadFile(begun); err != nil {
		t.Fatal(err)
	}
	sink := s.operator.Sink
	defer func() { s.operator.Sink = sink }()
	s.operator.Sink = event.SinkFunc(func(e event.Event) {
		if e.Type == event.Warning && strings.Contains(e.Message, "it is waited for") {
			go func() { made <- os.WriteFile(goOn, []byte("\n"), 0o600) }()
		}
	})
	debts, err := s.operator.Debts(t.Context(), o.Run)
	if err != nil || len(debts) != 1 || debts[0].Do != "" || debts[0].Machine.ID == "" {
		t.Fatalf("debts %+v, %v", debts, err)
	}
	for range 2 {
		if err := <-made; err != nil {
			t.Error(err)
		}
	}
	// What was not shown is not removed.
	others := []Debt{{MachineEntry: MachineEntry{Machine: provider.Machine{ID: "vm-of-somebody-else"}}}}
	if _, removed, err := s.operator.AbortRemoving(t.Context(), o.Run, others); err == nil || len(removed) > 0 || len(s.simulator("").read(t).Deleted) > 0 {
		t.Errorf("removed %v, %v", removed, err)
	}
	if _, removed, err := s.operator.AbortRemoving(t.Context(), o.Run, debts); err != nil || len(removed) != 1 {
		t.Errorf("removed %v, %v", removed, err)
	}
	s.balanced(t, 4)
	s.clean(t)
}

// giveUp aborts a run; a machine that carries nothing is gone afterwards, and its Node.
func (s *replaceSite) giveUp(t *testing.T, run, trouble string) {
	t.Helper()
	if trouble != "never joins" && trouble != "wrong version" {
		if _, err := s.operator.Abort(t.Context(), run); err != nil {
			t.Error(err)
		}
		return
	}
	status, err := s.operator.Store.Read(run)
	if err != nil || len(status.Machines) != 1 || status.Machines[0].Stand != Idle {
		t.Errorf("the ledger says %+v, %v", status.Machines, err)
	}
	debts, err := s.operator.Debts(t.Context(), run)
	if err != nil || len(debts) != 1 || debts[0].Do != "" {
		t.Errorf("debts %+v, %v", debts, err)
	}
	_, removed, err := s.operator.AbortRemoving(t.Context(), run, debts)
	if err != nil || len(removed) != 1 {
		t.Errorf("removed %v, %v", removed, err)
	}
	s.balanced(t, 4)
}

// reasons are those of the nodes that failed.
func reasons(o Outcome) (list []string) {
	for _, n := range o.Status.Nodes {
		if n.Reason != "" {
			list = append(list, n.Reason)
		}
	}
	return list
}

// watchService watches the nodes; least returns the smallest number of those in service that there
// ever was.
func (s *site) watchService(t *testing.T) (least func() int) {
	t.Helper()
	list, err := s.admin.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	serving := map[string]bool{}
	count := func() (n int) {
		for _, yes := range serving {
			if yes {
				n++
			}
		}
		return n
	}
	for i := range list.Items {
		n := &list.Items[i]
		serving[n.Name] = cluster.Ready(n) && !n.Spec.Unschedulable
	}
	w, err := s.admin.CoreV1().Nodes().Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	most := count()
	done := make(chan int)
	go func() {
		for e := range w.ResultChan() {
			if n, ok := e.Object.(*corev1.Node); ok {
				serving[n.Name] = e.Type != "DELETED" && cluster.Ready(n) && !n.Spec.Unschedulable
				most = min(most, count())
			}
		}
		done <- most
	}()
	return func() int { w.Stop(); return <-done }
}

// authority is the twin's, in a kubeconfig as kubeadm keeps it for those who join.
func (s *site) authority(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(s.twin.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
