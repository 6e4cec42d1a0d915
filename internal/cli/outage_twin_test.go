// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/outage"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

type outageOutput struct {
	outage.Forecast
	Parameters  []outage.Row `json:"parameters"`
	Assumptions []string     `json:"assumptions"`
}

// TestOutageOfShop: every pod of a node of the shop has a fate, with the reason
// and, if it is replaced, with what becomes of that; and who may only maintain the
// shop is told the same.
func TestOutageOfShop(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Scenario: "shop", Wait: true})
	t.Setenv("KUBECONFIG", tw.Kubeconfig())
	must := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		out, errw, code := refit(t, append([]string{"outage"}, args...)...)
		if code != want {
			t.Fatalf("refit outage %q: exit %d, want %d\nstdout:\n%s\nstderr:\n%s", args, code, want, out, errw)
		}
		return out, errw
	}

	out, errw := must(exitDone, "node-03", "--for", "10m", "-o", "json")
	var got outageOutput
	if err := json.Unmarshal([]byte(out), &got); err != nil || errw != "" {
		t.Fatalf("%v, stderr %q in\n%s", err, errw, out)
	}
	pods, err := twintest.Client(t, tw).CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=node-03"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Pods) != len(pods.Items) || len(got.Pods) == 0 {
		t.Errorf("%d pods have a fate, %d are on the node", len(got.Pods), len(pods.Items))
	}
	replaced := 0
	for i := range got.Pods {
		p := &got.Pods[i]
		if p.Reason == "" || p.Node != "node-03" || (p.AtSecond == nil) != (p.Deleted == nil) {
			t.Errorf("%+v", *p)
		}
		if p.Fate == outage.FateReplaced {
			replaced++
			if p.Replacement == nil || p.AtSecond == nil || *p.AtSecond != 347.5 {
				t.Errorf("%+v", *p)
			}
		}
	}
	if replaced == 0 {
		t.Error("nothing is replaced")
	}
	if len(got.Parameters) == 0 || len(got.Assumptions) != 2 {
		t.Errorf("the twin's control plane is not to be seen, so that something is assumed: %q", got.Assumptions)
	}

	as, _ := must(exitDone, "node-03", "--for", "10m", "-o", "json", "--kubeconfig", tw.MaintainerKubeconfig())
	var seen outageOutput
	if err := json.Unmarshal([]byte(as), &seen); err != nil || len(seen.Pods) != len(got.Pods) {
		t.Errorf("a maintainer sees (%v)\n%s", err, as)
	}

	if text, _ := must(exitDone, "--zone", "zone-a"); !strings.Contains(text, "4 of 4 nodes not Ready then, full-disruption") {
		t.Errorf("a zone:\n%s", text)
	}
	if text, _ := must(exitDone, "--all"); strings.Count(text, "\nnode-") != 12 {
		t.Errorf("all nodes:\n%s", text)
	}
	if text, _ := must(exitDone, "-l", "topology.kubernetes.io/zone in (zone-a, zone-b, zone-c)", "-o", "wide"); !strings.Contains(text, "all-zones-lost") {
		t.Errorf("everything:\n%s", text)
	}
	given, _ := must(exitDone, "node-03", "--default-unreachable-toleration-seconds", "30", "--node-monitor-grace-period", "20s")
	if !strings.Contains(given, "given with --node-monitor-grace-period") || !strings.Contains(given, "48s  ") {
		t.Errorf("with other parameters:\n%s", given)
	}

	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"node-99"}, `there is no node "node-99"`},
		{[]string{"--zone", "mars"}, "there are zone-a, zone-b, zone-c"},
		{[]string{"-l", "a=b"}, `no node matches "a=b"`},
	} {
		if out, errw := must(exitUsage, tc.args...); out != "" || !strings.Contains(errw, tc.says) || !strings.Contains(errw, "hint: ") {
			t.Errorf("%q: stdout %q, stderr %q", tc.args, out, errw)
		}
	}
}
