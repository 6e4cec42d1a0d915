// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"refit.dev/refit/twin"
)

func TestOptionsDefaults(t *testing.T) {
	for name, tc := range map[string]struct {
		in           twin.Options
		nodes, zones int
		kubernetes   string
	}{
		"nothing":             {twin.Options{}, 3, 3, "1.37"},
		"one node":            {twin.Options{Nodes: 1}, 1, 1, "1.37"},
		"a version with a v":  {twin.Options{Kubernetes: "v1.35"}, 3, 3, "1.35"},
		"a scenario":          {twin.Options{Scenario: "shop"}, 12, 3, "1.37"},
		"a scenario, smaller": {twin.Options{Scenario: "shop", Nodes: 2}, 2, 2, "1.37"},
		"a scenario, larger":  {twin.Options{Scenario: "stuck", Nodes: 9, Zones: 4}, 9, 4, "1.37"},
	} {
		got, err := tc.in.Complete()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Nodes != tc.nodes || got.Zones != tc.zones || got.Kubernetes != tc.kubernetes || got.Name != "default" {
			t.Errorf("%s: %+v, want %d nodes, %d zones, %s", name, got, tc.nodes, tc.zones, tc.kubernetes)
		}
		again, err := got.Complete()
		if err != nil || len(twin.Differences(got, again)) > 0 {
			t.Errorf("%s: completed twice it is %+v, %v", name, again, err)
		}
	}
}

func TestOptionsErrors(t *testing.T) {
	for _, tc := range []struct {
		in   twin.Options
		says string
	}{
		{twin.Options{Name: "a/b"}, `"a/b"`},
		{twin.Options{Name: strings.Repeat("a", 64)}, "no more than 63"},
		{twin.Options{Nodes: 5001}, "1 to 5000"},
		{twin.Options{Nodes: 3, Zones: 4}, "4 zones for 3 nodes"},
		{twin.Options{Zones: -1}, "-1 zones"},
		{twin.Options{Kubernetes: "1.33"}, "1.34, 1.35"},
		{twin.Options{NodeMemory: "0"}, "memory"},
		{twin.Options{NodePods: 300}, "room for 250"},
		{twin.Options{Reboot: -time.Second}, "reboot"},
		{twin.Options{NodeLease: -time.Second}, "lease"},
		{twin.Options{DefaultToleration: 1500 * time.Millisecond}, "whole seconds"},
		{twin.Options{NodeMonitorGracePeriod: 10 * time.Second}, "renew their leases every 10s"},
		{twin.Options{NodeLease: 200 * time.Second}, "grace period of the node monitor is 50s"},
		{twin.Options{Scenario: "/nonexistent.yaml"}, "no such file"},
	} {
		_, err := twin.Up(t.Context(), tc.in, nil)
		if !errors.Is(err, twin.ErrInvalid) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v: %v; want ErrInvalid and %q", tc.in, err, tc.says)
		}
	}
}

func TestDifferences(t *testing.T) {
	have := twin.Options{Nodes: 3, Scenario: "a.yaml", ScenarioSum: "1", Name: "x", Wait: true}
	want := twin.Options{Nodes: 4, Scenario: "a.yaml", ScenarioSum: "2", Name: "y", Tied: true}
	if got := strings.Join(twin.Differences(have, want), "; "); got != "nodes is 3, not 4; the contents of a.yaml" {
		t.Errorf("differences: %s", got)
	}
}

func TestDifferencesFromNothing(t *testing.T) {
	have := twin.Options{Scenario: "shop", ScenarioSum: "1"}
	if got := strings.Join(twin.Differences(have, twin.Options{}), "; "); got != "scenario is shop, not none" {
		t.Errorf("differences: %s", got)
	}
}

func TestNodeName(t *testing.T) {
	for _, tc := range []struct {
		i, n int
		want string
	}{{0, 3, "node-01"}, {98, 99, "node-99"}, {0, 100, "node-001"}, {4999, 5000, "node-5000"}} {
		if got := twin.NodeName(tc.i, tc.n); got != tc.want {
			t.Errorf("NodeName(%d, %d) = %s, want %s", tc.i, tc.n, got, tc.want)
		}
	}
}
