// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"refit.dev/refit/twin/simulated"
)

// AwaitReady waits until the scenario's workloads are ready: all replicas of
// Deployments, ReplicaSets and StatefulSets, a pod of each DaemonSet on every
// node meant for it, Pods Ready, Jobs running or done. Pods that are told
// never to become Ready need only run.
func (s *Scenario) AwaitReady(ctx context.Context, cfg *rest.Config) error {
	a, err := newApplier(cfg)
	if err != nil {
		return err
	}
	wanted := map[schema.GroupVersionResource]map[string]bool{}
	var order []schema.GroupVersionResource
	for _, o := range s.objects {
		if phase(o.GetKind()) != phaseWorkloads || o.GetKind() == "CronJob" {
			continue
		}
		gvk := o.GroupVersionKind()
		mapping, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			return fmt.Errorf("%s, document %d: %s: %w", s.Name, o.document, o, err)
		}
		if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
			continue
		}
		if wanted[mapping.Resource] == nil {
			wanted[mapping.Resource] = map[string]bool{}
			order = append(order, mapping.Resource)
		}
		ns := o.GetNamespace()
		if ns == "" {
			ns = metav1.NamespaceDefault
		}
		wanted[mapping.Resource][ns+"/"+o.GetName()] = true
	}
	for _, gvr := range order {
		if err := awaitAll(ctx, a.client.Resource(gvr), wanted[gvr], ready); err != nil {
			return fmt.Errorf("wait for %s of %s: %w", gvr.Resource, s.Name, err)
		}
	}
	return nil
}

// ready says whether a workload is as ready as it can become.
func ready(u *unstructured.Unstructured) bool {
	number := func(fields ...string) int64 {
		n, _, _ := unstructured.NestedInt64(u.Object, fields...)
		return n
	}
	if number("status", "observedGeneration") < u.GetGeneration() && u.GetKind() != "Pod" && u.GetKind() != "Job" {
		return false
	}
	count := "readyReplicas"
	if never(u) {
		count = "replicas"
	}
	switch u.GetKind() {
	case "Pod":
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		return phase == "Succeeded" || condition(u, "Ready") == "True" || never(u) && phase == "Running"
	case "Job":
		return number("status", "ready")+number("status", "succeeded") > 0
	case "DaemonSet":
		desired := number("status", "desiredNumberScheduled")
		return desired > 0 && (number("status", "numberReady") == desired || never(u) && number("status", "currentNumberScheduled") == desired)
	case "Deployment", "ReplicaSet", "StatefulSet", "ReplicationController":
		replicas, found, _ := unstructured.NestedInt64(u.Object, "spec", "replicas")
		if !found {
			replicas = 1
		}
		return number("status", count) == replicas
	default:
		return true
	}
}

// never says whether u's pods are told never to become Ready.
func never(u *unstructured.Unstructured) bool {
	fields := []string{"spec", "template", "metadata", "annotations", simulated.ReadyAfterAnnotation}
	if u.GetKind() == "Pod" {
		fields = fields[2:]
	}
	v, _, _ := unstructured.NestedString(u.Object, fields...)
	return v == simulated.Never
}
