// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// rolledAtOnce is how many Deployments are rolled out at the same time: few enough
// that their pods start as quickly as they do in a cluster that has little to do.
const rolledAtOnce = 4

// rollOut restarts all Deployments, as `kubectl rollout restart` does, and waits
// until all of their pods are new ones.
func (e *environment) rollOut(ctx context.Context) error {
	deployments := e.client.AppsV1().Deployments(metav1.NamespaceDefault)
	list, err := deployments.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the Deployments: %w", err)
	}
	for few := range slices.Chunk(list.Items, rolledAtOnce) {
		restart := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339))
		for i := range few {
			if _, err := deployments.Patch(ctx, few[i].Name, types.StrategicMergePatchType, restart, metav1.PatchOptions{}); err != nil {
				return fmt.Errorf("restart Deployment %s: %w", few[i].Name, err)
			}
		}
		for i := range few {
			err := e.until(ctx, "Deployment "+few[i].Name+" is rolled out", func() (bool, error) {
				d, err := deployments.Get(ctx, few[i].Name, metav1.GetOptions{})
				return err == nil && rolledOut(d), err
			})
			if err != nil {
				return err
			}
		}
	}
	return e.allReady(ctx, fleets*fleetPods)
}

// rolledOut is when `kubectl rollout status` ends.
func rolledOut(d *appsv1.Deployment) bool {
	s := d.Status
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == *d.Spec.Replicas && s.Replicas == s.UpdatedReplicas && s.AvailableReplicas == s.UpdatedReplicas
}
