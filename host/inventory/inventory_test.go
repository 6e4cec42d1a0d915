// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"refit.dev/refit/host/hosttest"
	"refit.dev/refit/host/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const head = "apiVersion: refit.dev/v1alpha1\nkind: Inventory\n"

func TestRead(t *testing.T) {
	no := false
	got, err := Read(strings.NewReader(head + `nodes:
  node-02: {address: 10.0.0.9, user: admin, port: 2222, identityFile: keys/a, proxyJump: "b,c", sudo: false}
  node-01:
    local: true
`))
	want := []Exception{
		{Node: "node-01", Line: 5, Local: true},
		{Node: "node-02", Line: 4, Address: "10.0.0.9", User: "admin", Port: 2222, IdentityFile: "keys/a", ProxyJump: "b,c", Sudo: &no},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, empty := range []string{head, head + "nodes:\n", head + "nodes: {}\n"} {
		if got, err := Read(strings.NewReader(empty)); err != nil || len(got) > 0 {
			t.Errorf("%q: got %+v, %v", empty, got, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "empty",
		"[]":                               "unmarshal",
		"kind: Inventory\n":                "apiVersion",
		head + "node: {}\n":                "line 3: field node not found",
		head + "nodes: [a]\n":              "line 3",
		head + "nodes:\n  a: 10.0.0.1\n":   "line 4: want fields",
		head + "nodes:\n  a:\n    addr: x": "line 5: there is no field \"addr\"",
		head + "nodes:\n  a: {port: x}\n":  "line 4",
		head + "nodes:\n  a: {port: -1}\n": "line 4: port -1",
		head + "nodes:\n  a: {sudo: 3}\n":  "line 4",
		head + "nodes:\n  a: {user: x}\n  a: {user: y}\n": "line 5",
		head + "nodes:\n  a: {user: x, user: y}\n":        "line 4",
		head + "nodes:\n  a: {local: true, port: 22}\n":   "line 4: local",
		head + "---\n" + head:                             "more than one",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestLoadMakesPathsAbsolute(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "inventory.yaml")
	text := head + "nodes:\n  a: {identityFile: k}\n  b: {identityFile: ~/k}\n  c: {identityFile: /k}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file, "/home/me")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{filepath.Join(dir, "k"), "/home/me/k", "/k"} {
		if got[i].IdentityFile != want {
			t.Errorf("got %s, want %s", got[i].IdentityFile, want)
		}
	}
	if _, err := Load(filepath.Join(dir, "none"), ""); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v", err)
	}
}

func node(name string, addresses ...corev1.NodeAddress) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}, Status: corev1.NodeStatus{Addresses: addresses}}
}

func machines(t *testing.T, a Access) *Machines {
	t.Helper()
	m, err := Open(a, remote.Options{Home: t.TempDir(), User: "me", Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestTarget(t *testing.T) {
	yes := true
	m := machines(t, Access{User: "admin", IdentityFile: "/key", ConfigFile: remote.NoConfig, Nodes: []Exception{
		{Node: "b", Address: "10.9.9.9", User: "root", Port: 2222, IdentityFile: "/b", Sudo: &yes},
	}})
	internal := corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}
	external := corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "192.0.2.1"}
	name := corev1.NodeAddress{Type: corev1.NodeHostName, Address: "host-1"}
	for _, c := range []struct {
		node *corev1.Node
		want string
	}{
		{node("a", name, external, internal), "a (admin@10.0.0.1:22) sudo=true [/key]"},
		{node("a", name, external), "a (admin@192.0.2.1:22) sudo=true [/key]"},
		{node("a", name), "a (admin@host-1:22) sudo=true [/key]"},
		{node("a"), "a (admin@a:22) sudo=true [/key]"},
		{node("b", internal), "b (root@10.9.9.9:2222) sudo=true [/b]"},
	} {
		target, err := m.Target(c.node)
		if got := fmt.Sprintf("%s sudo=%v %v", target, target.Sudo, target.Identities); err != nil || got != c.want {
			t.Errorf("got %s, %v, want %s", got, err, c.want)
		}
	}
}

// What a cluster says of its nodes is not always meant well.
func TestHostileAddresses(t *testing.T) {
	m := machines(t, Access{ConfigFile: remote.NoConfig})
	for _, address := range []string{"-oProxyCommand=id", "a\nb", "\x1b[31mred", "a b", "$(id)", "`id`", "a;b", "../x", "\u202eevil", "a'b", strings.Repeat("a", 300)} {
		_, err := m.Target(node("a", corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address}))
		if err == nil || strings.ContainsAny(err.Error(), "\n\x1b\u202e") {
			t.Errorf("%q: got %q", address, err)
		}
	}
}

func TestCheck(t *testing.T) {
	a := Access{Nodes: []Exception{{Node: "a", Line: 4}, {Node: "b\n", Line: 7}}}
	err := a.Check(func(name string) bool { return name == "a" })
	if err == nil || !strings.Contains(err.Error(), `"b\n" (line 7)`) {
		t.Errorf("got %v", err)
	}
	if err := a.Check(func(string) bool { return true }); err != nil {
		t.Error(err)
	}
}

// Who resumes a run reaches the machines the same way.
func TestAccessSurvivesTheJournal(t *testing.T) {
	no := false
	want := Access{User: "u", IdentityFile: "/k", ConfigFile: "/c", Nodes: []Exception{{Node: "a", Line: 3, Port: 1, Sudo: &no}}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Access
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMachine(t *testing.T) {
	sshd := hosttest.StartSSHD(t)
	m := machines(t, Access{ConfigFile: sshd.Config, Nodes: []Exception{{Node: "here", Local: true}}})
	loopback := corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}
	for _, c := range []struct {
		name string
		ssh  bool
	}{{"node-01", true}, {"here", false}} {
		for range 2 {
			machine, err := m.Machine(node(c.name, loopback), "run-1")
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			err = machine.Run(t.Context(), `echo "$REFIT_NODE $REFIT_RUN ${SSH_CONNECTION:+ssh}"`, func(line string) { lines = append(lines, line) })
			want := c.name + " run-1 "
			if c.ssh {
				want += "ssh"
			}
			if err != nil || !slices.Equal(lines, []string{want}) {
				t.Errorf("got %q, %v", lines, err)
			}
		}
	}
	if n := sshd.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
