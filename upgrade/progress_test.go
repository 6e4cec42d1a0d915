// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade_test

import (
	"fmt"
	"strings"
	"testing"

	"refit.dev/refit/upgrade"
)

func TestProgress(t *testing.T) {
	for name, tc := range map[string]struct{ text, server, want string }{
		"emulated":    {"worker w-1 v1.36.3\nworker w-2 v1.35.4\n", "v1.37.2 as 1.36", "v1.36: kube-proxy w-2, kubelet w-2; hosted v1.37.2"},
		"one version": {small, "v1.36.3", "v1.36.3"},
		"in the middle": {"control-plane cp-1 v1.36.3 api=v1.37.2\ncontrol-plane cp-2 v1.36.3\nworker w-1 v1.36.3 proxy=v1.37.2\n", "v1.37.2",
			"v1.37.2: kube-apiserver cp-2, kube-controller-manager cp-2, kube-scheduler cp-2, kube-proxy cp-1, kube-proxy cp-2, kubelet cp-1, kubelet cp-2, kubelet w-1"},
		"patches": {"control-plane cp-1 v1.37.2\nworker w-1 v1.37.0\n", "v1.37.2", "v1.37.2: kube-proxy w-1, kubelet w-1"},
		"hosted":  {"worker w-1 v1.36.3\n", "v1.37.2", "v1.37.2: kube-proxy w-1, kubelet w-1; hosted v1.37.2"},
		"skipped": {"control-plane cp-1 v1.37.2\ncontrol-plane cp-2 v1.35.4 \n", "v1.37.2",
			"v1.37.2: kube-apiserver cp-2, kube-controller-manager cp-2, kube-scheduler cp-2, kube-proxy cp-2, kubelet cp-2; 1 problems"},
	} {
		s := stateOf(t, tc.text).Snapshot
		s.Server, s.Emulated, _ = strings.Cut(tc.server, " as ")
		p := upgrade.ProgressOf(s)
		var left []string
		for _, l := range p.Left {
			left = append(left, l.Component+" "+l.Node)
		}
		got := p.Version.String()
		if len(left) > 0 {
			got += ": " + strings.Join(left, ", ")
		}
		if p.Hosted != "" {
			got += "; hosted " + p.Hosted
		}
		if len(p.Problems) > 0 {
			got += fmt.Sprintf("; %d problems", len(p.Problems))
		}
		if got != tc.want {
			t.Errorf("%s: got %s\nwant %s", name, got, tc.want)
		}
	}
}
