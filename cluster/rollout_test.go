// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func TestRollout(t *testing.T) {
	for _, tc := range []struct {
		surge, unavailable string // "" is not given
		replicas           int32
		want               Rollout
	}{
		{"", "", 1, Rollout{MaxSurge: 1, MaxUnavailable: 0}}, // 25% of one is one more, and none less
		{"25%", "25%", 1, Rollout{MaxSurge: 1, MaxUnavailable: 0}},
		{"25%", "25%", 10, Rollout{MaxSurge: 3, MaxUnavailable: 2}},
		{"1", "0", 1, Rollout{MaxSurge: 1, MaxUnavailable: 0}},
		{"0", "1", 1, Rollout{MaxSurge: 0, MaxUnavailable: 1}},
		{"0", "25%", 1, Rollout{MaxSurge: 0, MaxUnavailable: 1}}, // both come to nothing
		{"1", "1", 1, Rollout{MaxSurge: 1, MaxUnavailable: 1}},
		{"1", "100%", 1, Rollout{MaxSurge: 1, MaxUnavailable: 1}},
		{"x", "y", 1, Rollout{MaxSurge: 0, MaxUnavailable: 1}},
	} {
		d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: ptr.To(tc.replicas)}}
		if tc.surge != "" {
			d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: ptr.To(intstr.Parse(tc.surge)), MaxUnavailable: ptr.To(intstr.Parse(tc.unavailable))}
		}
		if got := RolloutOf(d); *got != tc.want {
			t.Errorf("maxSurge %q, maxUnavailable %q of %d: %+v, want %+v", tc.surge, tc.unavailable, tc.replicas, *got, tc.want)
		}
	}
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Paused: true, Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}}}
	d.Spec.Template.Annotations = map[string]string{RestartedAtAnnotation: "then"}
	if got, want := RolloutOf(d), (Rollout{Paused: true, Recreate: true, RestartedAt: "then"}); *got != want {
		t.Errorf("%+v, want %+v", *got, want)
	}
	if w := workloadOf(d); w.Rollout == nil || *w.Rollout != *RolloutOf(d) {
		t.Errorf("%+v", w.Rollout)
	}
}
