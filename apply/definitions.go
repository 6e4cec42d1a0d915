// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"

	"refit.dev/refit/cluster"
	"refit.dev/refit/served"
)

// definedBy are the kinds that an object defines, if it is a definition.
func definedBy(t *target) map[schema.GroupVersionKind]served.Resource {
	if t.key.Group != "apiextensions.k8s.io" || t.key.Kind != "CustomResourceDefinition" {
		return nil
	}
	k := kinds{defined: map[schema.GroupVersionKind]served.Resource{}}
	k.define(t.Unstructured)
	return k.defined
}

// awaitDefinitions waits until the API server has accepted each definition of a stage. One that it does not accept in
// time fails, and with it the objects of its kinds.
func (a *applier) awaitDefinitions(ctx context.Context, stage []*target) error {
	since, pause := a.Clock.Now(), firstPause
	for _, t := range stage {
		a.mu.Lock()
		lost := false
		for gvk := range definedBy(t) {
			lost = lost || a.lost[keyOfKind(gvk)]
		}
		a.mu.Unlock()
		for !lost {
			established, why, err := a.established(ctx, t)
			if err != nil {
				return err
			}
			if established {
				break
			}
			if a.Clock.Since(since) >= a.Patience {
				a.fail(t, fmt.Errorf("it is not established after %s: %s", a.Patience, why))
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("interrupted while waiting for %s: %w", t.key, context.Cause(ctx))
			case <-a.Clock.After(pause):
			}
			pause = min(2*pause, longestPause)
		}
	}
	return nil
}

// established tells whether the API server serves what a definition defines, and what is in the way.
func (a *applier) established(ctx context.Context, t *target) (ok bool, why string, err error) {
	text, _, err := served.Do(ctx, a.api.Client.Get().AbsPath(t.path()))
	if apierrors.IsNotFound(err) {
		return false, "it is gone", nil
	}
	if err != nil {
		return false, "", cluster.Explain(err, t.key.String())
	}
	crd := &unstructured.Unstructured{}
	if err := json.Unmarshal(text, &crd.Object); err != nil {
		return false, "", fmt.Errorf("read %s: %w", t.key, err)
	}
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	why = "the API server has not said anything of it yet"
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		switch {
		case condition["type"] == "Established" && condition["status"] == "True":
			return true, "", nil
		case condition["status"] == "False":
			why, _ = condition["message"].(string)
		}
	}
	return false, why, nil
}
