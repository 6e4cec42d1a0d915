// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package toleration

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
)

// applyAttempts bounds how often a write is repeated after somebody else wrote to
// the object in between, as its controller does to the status of one that rolls out.
const applyAttempts = 10

// fieldManager is who the API server records as having set what is set here.
const fieldManager = "refit"

// Apply makes the change, on the very object that was planned for: if its
// tolerations are other ones by now, or it is another object of that name, nothing
// is changed and that is the error. dryRun asks the API server, which does all but
// that.
func (c Change) Apply(ctx context.Context, client kubernetes.Interface, dryRun bool) error {
	if c.Refused != "" {
		return fmt.Errorf("%s: %s", c.Object(), c.Refused)
	}
	options := metav1.PatchOptions{FieldManager: fieldManager}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	version := c.ResourceVersion
	for attempt := 1; ; attempt++ {
		err := patch(ctx, client, c.Target, version, Set(c.Tolerations, c.Seconds), options)
		switch {
		case err == nil:
			return nil
		case apierrors.IsForbidden(err):
			return hint.Wrap(fmt.Errorf("change %s: %w", c.Object(), err), "allow this user to patch it: docs/how-to/rbac.md")
		case !apierrors.IsConflict(err) || attempt == applyAttempts:
			return fmt.Errorf("change %s: %w", c.Object(), err)
		}
		now, err := get(ctx, client, c.Namespace, Name{Kind: c.Kind, Name: c.Name})
		switch {
		case apierrors.IsNotFound(err):
			return &NotFoundError{c.Object()}
		case err != nil:
			return cluster.Explain(err, c.Object().String())
		case now.UID != c.UID, !reflect.DeepEqual(now.Tolerations, c.Tolerations):
			return hint.Wrap(fmt.Errorf("%s was changed by somebody else after it was looked at; it was left as it is", c.Object()), "look at it, and run this again")
		}
		version = now.ResourceVersion
	}
}

// patch writes tolerations to the pod template, as a JSON merge patch: the list as a
// whole, nothing else. The API server refuses it on any other version of the object.
func patch(ctx context.Context, client kubernetes.Interface, t *Target, version string, tolerations any, o metav1.PatchOptions) error {
	spec := map[string]any{"tolerations": tolerations}
	switch t.Kind {
	case "Pod":
	case "CronJob":
		spec = map[string]any{"jobTemplate": map[string]any{"spec": map[string]any{"template": map[string]any{"spec": spec}}}}
	default:
		spec = map[string]any{"template": map[string]any{"spec": spec}}
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": version, "uid": t.UID}, "spec": spec})
	if err != nil {
		return err
	}
	const merge = types.MergePatchType
	switch t.Kind {
	case "Deployment":
		_, err = client.AppsV1().Deployments(t.Namespace).Patch(ctx, t.Name, merge, data, o)
	case "StatefulSet":
		_, err = client.AppsV1().StatefulSets(t.Namespace).Patch(ctx, t.Name, merge, data, o)
	case "ReplicaSet":
		_, err = client.AppsV1().ReplicaSets(t.Namespace).Patch(ctx, t.Name, merge, data, o)
	case "ReplicationController":
		_, err = client.CoreV1().ReplicationControllers(t.Namespace).Patch(ctx, t.Name, merge, data, o)
	case "CronJob":
		_, err = client.BatchV1().CronJobs(t.Namespace).Patch(ctx, t.Name, merge, data, o)
	case "Pod":
		_, err = client.CoreV1().Pods(t.Namespace).Patch(ctx, t.Name, merge, data, o)
	default:
		return fmt.Errorf("%s cannot be changed", t.Object())
	}
	return err
}
