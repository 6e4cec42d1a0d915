// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// RestartedAtAnnotation is what `kubectl rollout restart` sets on a pod template;
// its value is the time of the restart (defaultObjectRestarter in
// k8s.io/kubectl/pkg/polymorphichelpers).
const RestartedAtAnnotation = "kubectl.kubernetes.io/restartedAt"

// defaultFence is what the API server fills in for maxSurge and maxUnavailable.
const defaultFence = "25%"

// Rollout is how a Deployment replaces its pods.
type Rollout struct {
	// Paused: it does not, for now.
	Paused bool
	// Recreate: all old pods end before the first new one starts.
	Recreate bool
	// MaxSurge is how many pods more than wanted there may be on the way, MaxUnavailable
	// how many fewer available ones, for the present number of replicas.
	MaxSurge, MaxUnavailable int
	// RestartedAt is the value of RestartedAtAnnotation in the pod template.
	RestartedAt string
}

// RolloutOf reads a Deployment. Percentages are rounded as the Deployment
// controller rounds them: up for the surge, down for what is unavailable, and if
// both come to nothing, one may be unavailable (ResolveFenceposts in
// pkg/controller/deployment/util of Kubernetes v1.37.2). A value that is no
// number counts as 0; the API server accepts none.
func RolloutOf(d *appsv1.Deployment) *Rollout {
	r := &Rollout{
		Paused: d.Spec.Paused, Recreate: d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType,
		RestartedAt: d.Spec.Template.Annotations[RestartedAtAnnotation],
	}
	if r.Recreate {
		return r
	}
	fence := intstr.FromString(defaultFence)
	surge, unavailable := &fence, &fence
	if u := d.Spec.Strategy.RollingUpdate; u != nil {
		surge, unavailable = ptr.To(ptr.Deref(u.MaxSurge, fence)), ptr.To(ptr.Deref(u.MaxUnavailable, fence))
	}
	replicas := int(ptr.Deref(d.Spec.Replicas, 1))
	r.MaxSurge, _ = intstr.GetScaledValueFromIntOrPercent(surge, replicas, true)
	r.MaxUnavailable, _ = intstr.GetScaledValueFromIntOrPercent(unavailable, replicas, false)
	if r.MaxSurge == 0 && r.MaxUnavailable == 0 {
		r.MaxUnavailable = 1
	}
	return r
}
