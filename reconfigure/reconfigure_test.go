// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reconfigure

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

const flag = "--default-not-ready-toleration-seconds=60"

func (s *site) plan(t *testing.T) *Plan {
	t.Helper()
	p, err := s.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *site) config(t *testing.T) string {
	t.Helper()
	found, err := s.client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), ConfigMap, metav1.GetOptions{})
	if err != nil || found.Data["other"] != "stays" {
		t.Fatal(err, found)
	}
	return found.Data[ConfigKey]
}

func (s *site) has(node string) bool {
	return strings.Contains(strings.Join(s.command(node), " "), flag)
}

func TestReconfigure(t *testing.T) {
	s := newSite(t, "cp-1", "cp-2")
	p := s.plan(t)
	if !p.Config.Needed() || len(p.Servers) != 2 || p.Servers[0].Node != "cp-1" || p.Done() || len(p.Odd()) > 0 || s.has("cp-1") {
		t.Fatalf("got %+v", p)
	}
	if err := p.SetConfig(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.config(t), "- name: default-not-ready-toleration-seconds\n    value: \"60\"\n") {
		t.Errorf("the configuration is\n%s", s.config(t))
	}
	if err := p.SetServer(t.Context(), p.Servers[0]); err != nil {
		t.Fatal(err)
	}
	if !s.has("cp-1") || s.has("cp-2") {
		t.Errorf("cp-1: %s\ncp-2: %s", s.command("cp-1"), s.command("cp-2"))
	}
	if kept, found := s.machines["cp-1"].File(keptPath); !found || string(kept.Data) != manifestOf("192.0.2.1", startConfig, "") {
		t.Errorf("kept is %s", kept.Data)
	}

	// Whoever was interrupted here does the rest.
	p = s.plan(t)
	if p.Config.Needed() || !p.Servers[0].Done() || p.Servers[1].Done() {
		t.Fatalf("after an interruption: %+v", p)
	}
	for _, server := range p.Servers {
		if err := p.SetServer(t.Context(), server); err != nil {
			t.Fatal(err)
		}
	}
	if p = s.plan(t); !p.Done() || !s.has("cp-2") {
		t.Errorf("at the end: %+v", p)
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*testing.T, *site)
		says  string
	}{
		"no kubeadm": {func(t *testing.T, s *site) {
			if err := s.client.CoreV1().ConfigMaps("kube-system").Delete(t.Context(), ConfigMap, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}, "no cluster of kubeadm"},
		"an API server that is not to be seen": {func(t *testing.T, s *site) {
			if err := s.client.CoreV1().Pods("kube-system").Delete(t.Context(), "kube-apiserver-cp-2", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}, "node cp-2 is of the control plane"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "cp-1", "cp-2")
			tt.spoil(t, s)
			_, err := s.Plan(t.Context())
			if blocked := (*BlockedError)(nil); !errors.As(err, &blocked) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestManifestsChangedByHandAreTold(t *testing.T) {
	s := newSite(t, "cp-1", "cp-2")
	s.machines["cp-2"].SetFile(manifestPath, manifestOf("192.0.2.2", startConfig, "    - --profiling=false\n"), 0o600)
	if odd := s.plan(t).Odd(); len(odd) != 1 || odd[0] != "cp-2" {
		t.Errorf("got %q", odd)
	}
}

// The flags alone may have been put there by hand: what is left is the configuration.
func TestFlagsSetByHand(t *testing.T) {
	s := newSite(t, "cp-1")
	s.machines["cp-1"].SetFile(manifestPath, manifestOf("192.0.2.1", startConfig, "    - "+flag+"\n"), 0o600)
	if p := s.plan(t); !p.Config.Needed() || !p.Servers[0].Done() {
		t.Errorf("got %+v", p.Servers[0])
	}
}

func TestNeverTwoAway(t *testing.T) {
	s := newSite(t, "cp-1", "cp-2")
	p := s.plan(t)
	pods := s.client.CoreV1().Pods("kube-system")
	pod, err := pods.Get(t.Context(), "kube-apiserver-cp-2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Conditions[0].Status = corev1.ConditionFalse
	if _, err := pods.Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.SetServer(t.Context(), p.Servers[0]); err == nil || !strings.Contains(err.Error(), "cp-2 is not ready") || s.has("cp-1") {
		t.Errorf("got %v, %s", err, s.command("cp-1"))
	}
}

func TestChangedMeanwhile(t *testing.T) {
	s := newSite(t, "cp-1")
	p := s.plan(t)
	s.machines["cp-1"].SetFile(manifestPath, manifestOf("192.0.2.1", startConfig, "    - --v=9\n"), 0o600)
	if err := p.SetServer(t.Context(), p.Servers[0]); !errors.Is(err, errChanged) || s.has("cp-1") {
		t.Errorf("got %v, %s", err, s.command("cp-1"))
	}
}

// TestItDoesNotComeBack is a kubelet that does not start what its manifest says.
func TestItDoesNotComeBack(t *testing.T) {
	s := newSite(t, "cp-1")
	clk := clocktesting.NewFakeClock(time.Unix(0, 0))
	s.Clock = clk
	p := s.plan(t)
	s.deaf["cp-1"] = true
	done := make(chan error)
	go func() { done <- p.SetServer(t.Context(), p.Servers[0]) }()
	for {
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "after 5m0s a kube-apiserver runs without "+flag) {
				t.Errorf("got %v", err)
			}
			return
		default:
			if clk.HasWaiters() {
				clk.Step(patience)
			}
		}
	}
}
