// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
)

// bootNode is a node that tells of a boot.
func bootNode(boot string, ready corev1.ConditionStatus) *corev1.Node {
	n := &corev1.Node{}
	n.Name = "node-01"
	n.Status.NodeInfo.BootID = boot
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	return n
}

func TestCheckSame(t *testing.T) {
	m := hosttest.New(t, "node-01") // its boot is boot-1
	for _, c := range []struct {
		node *corev1.Node
		same bool
	}{
		{bootNode("boot-1", corev1.ConditionTrue), true},
		{bootNode("boot-9", corev1.ConditionTrue), false},
		{bootNode("boot-9", corev1.ConditionUnknown), true}, // it was booted, and its kubelet is not back
		{bootNode("", corev1.ConditionTrue), true},
	} {
		err := host.CheckSame(t.Context(), m, c.node)
		if (err == nil) != c.same || err != nil && (!strings.Contains(err.Error(), "boot-1") || !strings.Contains(err.Error(), "node-01")) {
			t.Errorf("%+v: got %v", c.node.Status, err)
		}
	}
	m.Offline()
	if err := host.CheckSame(t.Context(), m, bootNode("boot-1", corev1.ConditionTrue)); !host.Temporary(err) {
		t.Errorf("got %v", err)
	}
}

// Nothing is done on the machine of another node; a reboot that was obeyed is not asked
// for again while the Node still tells of the boot before it.
func TestBound(t *testing.T) {
	m := hosttest.New(t, "node-01")
	other := host.Bound(m, bootNode("boot-9", corev1.ConditionTrue))
	if err := other.Run(t.Context(), "true", nil); !errors.Is(err, host.ErrNotStarted) {
		t.Errorf("got %v", err)
	}
	if err := other.Reboot(t.Context(), "request-1"); err == nil || m.Reboots() > 0 {
		t.Errorf("%d reboots, %v", m.Reboots(), err)
	}
	own := host.Bound(m, bootNode("boot-1", corev1.ConditionTrue))
	m.ExpectShell("true")
	if err := own.Run(t.Context(), "true", nil); err != nil {
		t.Error(err)
	}
	m.SetFile(host.RebootFile, `{"request":"request-1","bootID":"boot-1"}`, 0o600)
	for range 2 {
		if err := own.Reboot(t.Context(), "request-1"); err != nil || m.Reboots() != 1 {
			t.Errorf("%d reboots, %v", m.Reboots(), err)
		}
	}
}

// What is no address does not reach commands of the operator's, which a shell reads.
func TestEnvironmentHasAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "fd00::1": "fd00::1",
		"-oProxyCommand=id": "", "10.0.0.1 -v": "", "$(id)": "", "fe80::1%$(id)": "", "": "",
	} {
		n := bootNode("", corev1.ConditionTrue)
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "other"}, {Type: corev1.NodeInternalIP, Address: address}}
		if got := host.Environment(n, "run-1"); !slices.Contains(got, "REFIT_NODE_ADDRESS="+want) {
			t.Errorf("%q: got %q", address, got)
		}
	}
}
