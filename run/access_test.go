// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"

	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/host/remote"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin/simulated"
)

func machineNode(name, address string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}},
	}
}

func TestCheckAccess(t *testing.T) {
	good, bad := machineNode("good", "10.0.0.1"), machineNode("bad", "-oProxyCommand=id")
	snapshot := snapshotOf(t, bad, good)
	for _, c := range []struct {
		node string
		ssh  *inventory.Access
		want string
	}{
		{"bad", nil, ""},
		{"good", &inventory.Access{ConfigFile: remote.NoConfig}, ""},
		{"bad", &inventory.Access{ConfigFile: remote.NoConfig}, "no name of a host"},
		{"good", &inventory.Access{ConfigFile: "/does/not/exist"}, "/does/not/exist"},
		{"good", &inventory.Access{ConfigFile: remote.NoConfig, Nodes: []inventory.Exception{{Node: "ugly", Line: 4}}}, `"ugly" (line 4)`},
	} {
		spec := &Spec{Nodes: []Target{{Name: c.node}}, Access: c.ssh}
		_, err := spec.checkAccess(snapshot)
		var input *InputError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.node, err)
		case c.want != "" && (!errors.As(err, &input) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.node, err, c.want)
		}
	}
}

// Two nodes of a run with one machine would have it taken twice.
func TestCheckAccessOfOneMachineForTwo(t *testing.T) {
	one, two := machineNode("one", "10.0.0.1"), machineNode("two", "10.0.0.2")
	for _, c := range []struct {
		nodes []inventory.Exception
		want  string
	}{
		{nil, ""},
		{[]inventory.Exception{{Node: "one", Address: "10.0.0.2"}}, "10.0.0.2:22"},
		{[]inventory.Exception{{Node: "one", Address: "10.0.0.2", Port: 2222}}, ""},
		{[]inventory.Exception{{Node: "one", Address: "10.0.0.2", ProxyJump: "bastion"}}, ""},
		{[]inventory.Exception{{Node: "one", Local: true}}, ""},
		{[]inventory.Exception{{Node: "one", Local: true}, {Node: "two", Local: true}}, "this machine"},
	} {
		spec := &Spec{Nodes: []Target{{Name: "one"}, {Name: "two"}}, Access: &inventory.Access{ConfigFile: remote.NoConfig, Nodes: c.nodes}}
		_, err := spec.checkAccess(snapshotOf(t, one, two))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), "nodes one and two are on one machine: both are at "+c.want)) {
			t.Errorf("%+v: got %v, want %q", c.nodes, err, c.want)
		}
	}
}

// A kubelet may give its own node the label of a simulated one: with SSH asked for, that
// brings no command meant for its machine to the operator's.
func TestSimulatedNodesAreNotReachedOverSSH(t *testing.T) {
	twin := machineNode("twin", "127.0.0.1")
	twin.Labels = map[string]string{simulated.KubeletLabel: simulated.KubeletRunning}
	spec := &Spec{Run: "run-1", Nodes: []Target{{Name: "twin"}}, Access: &inventory.Access{ConfigFile: remote.NoConfig}}
	var input *InputError
	if _, err := spec.checkAccess(snapshotOf(t, twin)); !errors.As(err, &input) || !strings.Contains(hint.Of(err), "leave --ssh out") {
		t.Errorf("got %v, %q", err, hint.Of(err))
	}
	o := &Operator{Client: fake.NewClientset(twin), Sink: event.Discard, Clock: clock.RealClock{}}
	hosts, closing, err := o.hosts(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer closing()
	h := hosts(twin)
	for _, err := range []error{h.Run(t.Context(), "true", nil), h.Reboot(t.Context(), "id")} {
		if err == nil || !strings.Contains(err.Error(), "simulated") {
			t.Errorf("got %v", err)
		}
	}
}

// With SSH asked for a command runs on the machine of its node, if that is its machine.
func TestHostsOverSSH(t *testing.T) {
	sshd := hosttest.StartSSHD(t)
	other := machineNode("other", "127.0.0.1")
	other.Status.NodeInfo.BootID = "another"
	other.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	o := &Operator{Client: fake.NewClientset(), Sink: event.Discard, Clock: clock.RealClock{}}
	for _, c := range []struct {
		node *corev1.Node
		ssh  *inventory.Access
		want string
	}{
		{machineNode("node-01", "127.0.0.1"), &inventory.Access{ConfigFile: sshd.Config}, "node-01 ssh"},
		{machineNode("node-01", "127.0.0.1"), nil, "node-01 "},
		{other, &inventory.Access{ConfigFile: sshd.Config}, ""},
	} {
		hosts, closing, err := o.hosts(&Spec{Run: "run-1", Access: c.ssh})
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		err = hosts(c.node).Run(t.Context(), `echo "$REFIT_NODE ${SSH_CONNECTION:+ssh}"`, func(line string) { lines = append(lines, line) })
		closing()
		if c.want == "" {
			if !errors.Is(err, host.ErrNotStarted) || !strings.Contains(err.Error(), "is not that node's") || len(lines) > 0 {
				t.Errorf("%s: got %q, %v", c.node.Name, lines, err)
			}
			continue
		}
		if err != nil || !slices.Equal(lines, []string{c.want}) {
			t.Errorf("%s: got %q, %v, want %q", c.node.Name, lines, err, c.want)
		}
	}
}

func TestHostsOfANodeThatIsNowhere(t *testing.T) {
	o := &Operator{Client: fake.NewClientset(), Sink: event.Discard, Clock: clock.RealClock{}}
	hosts, closing, err := o.hosts(&Spec{Run: "run-1", Access: &inventory.Access{ConfigFile: remote.NoConfig}})
	if err != nil {
		t.Fatal(err)
	}
	defer closing()
	h := hosts(machineNode("node-01", "a\nb"))
	for _, err := range []error{h.Run(t.Context(), "true", nil), h.Reboot(t.Context(), "id")} {
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "no name of a host") {
			t.Errorf("got %v", err)
		}
	}
}

// A machine that is out of reach may be back later; one that refuses the login will not.
func TestTransientMachines(t *testing.T) {
	away := fmt.Errorf("reboot: %w", temporaryError{})
	if !transient(away) || transient(remote.ErrLogin) || transient(remote.ErrHostKey) || transient(host.ErrNotStarted) {
		t.Error("what is tried again is not what may get another answer")
	}
	if text := (&unreachableError{patience: 1, err: away}).Error(); !strings.HasPrefix(text, "the machine gave") {
		t.Error(text)
	}
}

type temporaryError struct{}

func (temporaryError) Error() string    { return "away" }
func (temporaryError) OutOfReach() bool { return true }
