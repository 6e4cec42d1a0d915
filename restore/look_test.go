// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// lookedAt is a machine with the member of the manifest, on which etcd does not answer.
func lookedAt(t *testing.T, node string) *hosttest.Machine {
	m := hosttest.New(t, node)
	m.SetFile(etcdManifest, strings.ReplaceAll(manifest, "cp1", node), 0o600)
	m.AlwaysFunc("test -e", func(argv []string) bool { return argv[0] == "test" })
	m.Always("df", "--output=avail", "--block-size=1", "/data/etcd").Stdout("Avail\n99999999999\n")
	return m
}

// idle is a control that has everything and reaches nothing.
type idle struct{ control }

func (idle) running(context.Context) (map[string]bool, error) { return map[string]bool{}, nil }
func (idle) has(context.Context, string) (bool, error)        { return true, nil }
func (idle) reach(context.Context, run.Member) (etcd.Access, error) {
	return etcd.Access{Endpoints: []string{"http://127.0.0.1:1"}, Patience: patience}, nil
}

func prepare(t *testing.T, r Request, machines map[string]*hosttest.Machine) (*Prepared, error) {
	t.Helper()
	o := &Operator{
		Clock: clock.RealClock{}, Sink: event.Discard,
		Reach: func(n *corev1.Node, _ string) (host.Machine, error) {
			if m := machines[n.Name]; m != nil {
				return m, nil
			}
			return nil, errors.New("no such machine")
		},
		controls: func(host.Machine, run.Member) control { return idle{} },
	}
	r.File = "/backup.db"
	if r.Snapshot == nil {
		r.Snapshot = &etcd.Status{SHA256: strings.Repeat("a", 64), Revision: 100, TotalSize: 1 << 20, ClusterUID: "this"}
	}
	return o.Prepare(t.Context(), r)
}

func TestPrepare(t *testing.T) {
	p, err := prepare(t, Request{Nodes: []string{"cp2", "cp1", "cp2"}, ClusterUID: "this"}, map[string]*hosttest.Machine{"cp1": lookedAt(t, "cp1"), "cp2": lookedAt(t, "cp2")})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Spec.Restore
	if len(r.Members) != 2 || r.Members[0].Node != "cp1" || r.Members[1].Name != "cp2" || !r.Members[0].APIServer || r.Members[0].DataDir != "/data/etcd" {
		t.Errorf("%+v", r.Members)
	}
	if r.BumpRevision < 20*1_000*DefaultBump || r.BumpRevision > 1<<53 { // nobody knows what clients have seen
		t.Errorf("the revision is raised by %d", r.BumpRevision)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "etcd does not answer") {
		t.Errorf("%q", p.Warnings)
	}
}

func TestPrepareRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		request Request
		arrange func(*hosttest.Machine)
		want    string
		blocked bool
	}{
		"another cluster":          {request: Request{ClusterUID: "other"}, want: "the snapshot is of another cluster", blocked: true},
		"another restore":          {arrange: func(m *hosttest.Machine) { m.SetFile(parkDir+"/run", "20261122-150405-abcd\n", 0o600) }, want: "run 20261122-150405-abcd has begun to restore it", blocked: true},
		"a control plane left out": {request: Request{LeftOut: []string{"cp2"}}, want: "would go on with the old data: cp2", blocked: true},
		"the manifest cannot be edited": {request: Request{DataDir: "/data/new"}, arrange: func(m *hosttest.Machine) {
			m.SetFile(etcdManifest, strings.Replace(manifest, "path: /data/etcd", "path: /data/etcd # ours", 1), 0o600)
			m.Always("df", "--output=avail", "--block-size=1", "/data").Stdout("Avail\n99999999999\n")
		}, want: "stands there 0 times", blocked: true},
		"another machine": {request: Request{Known: map[string]*corev1.Node{"cp1": {Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{BootID: "other"}, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		}}}}, want: "is not that node's"},
		"no room": {request: Request{Snapshot: &etcd.Status{TotalSize: 1 << 40, ClusterUID: "this"}}, want: "of free disk, and the restored data takes", blocked: true},
		"the directory is there": {request: Request{DataDir: "/data/new"}, arrange: func(m *hosttest.Machine) {
			m.Always("df", "--output=avail", "--block-size=1", "/data").Stdout("Avail\n99999999999\n")
		}, want: "/data/new is there already", blocked: true},
		"no etcd": {arrange: func(m *hosttest.Machine) {
			m.RemoveFile(etcdManifest)
			m.Always("systemctl", "show", "--value", "--property=LoadState", "etcd.service").Stdout("not-found\n")
		}, want: "there is neither " + etcdManifest + " nor a service etcd.service"},
		"a manifest of something else": {arrange: func(m *hosttest.Machine) { m.SetFile(etcdManifest, "kind: Pod", 0o600) }, want: "is no manifest of a pod with one container"},
		"no machine":                   {request: Request{Nodes: []string{"cp9"}}, want: "machine cp9: no such machine"},
	} {
		t.Run(name, func(t *testing.T) {
			m := lookedAt(t, "cp1")
			if c.arrange != nil {
				c.arrange(m)
			}
			r := c.request
			if r.Nodes == nil {
				r.Nodes = []string{"cp1"}
			}
			_, err := prepare(t, r, map[string]*hosttest.Machine{"cp1": m})
			_, blocked := errors.AsType[*run.BlockedError](err)
			if err == nil || !strings.Contains(err.Error(), c.want) || blocked != c.blocked {
				t.Errorf("%v, hint %q", err, hint.Of(err))
			}
			if slices.ContainsFunc(m.Log(), func(l string) bool {
				return !slices.Contains([]string{"'test'", "'df'", "'find'", "'systemctl'"}, strings.Fields(l)[0]) // these only look
			}) {
				t.Errorf("something was done: %q", m.Log())
			}
		})
	}
}

func TestPrepareForAnotherCluster(t *testing.T) {
	if _, err := prepare(t, Request{Nodes: []string{"cp1"}, ClusterUID: "other", OtherCluster: true}, map[string]*hosttest.Machine{"cp1": lookedAt(t, "cp1")}); err != nil {
		t.Error(err)
	}
}
