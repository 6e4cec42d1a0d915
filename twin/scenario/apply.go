// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// fieldManager is the owner of the fields that a scenario sets.
const fieldManager = "refit-twin"

// applier applies objects to one cluster.
type applier struct {
	client dynamic.Interface
	mapper meta.ResettableRESTMapper
}

func newApplier(cfg *rest.Config) (*applier, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &applier{client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))}, nil
}

// Apply applies the scenario (server-side apply, so twice is as good as once):
// namespaces and custom resource definitions first, workloads last. An error
// names the file, the document and the object.
func (s *Scenario) Apply(ctx context.Context, cfg *rest.Config) error {
	a, err := newApplier(cfg)
	if err != nil {
		return err
	}
	current := -1
	for _, o := range s.objects {
		if p := phase(o.GetKind()); p != current {
			if err := s.betweenPhases(ctx, a, current, p); err != nil {
				return err
			}
			current = p
		}
		if err := a.apply(ctx, o); err != nil {
			return fmt.Errorf("%s, document %d: %s: %w", s.Name, o.document, o, err)
		}
	}
	return nil
}

// betweenPhases waits for what the objects of phase next need of those of
// phase last and before.
func (s *Scenario) betweenPhases(ctx context.Context, a *applier, last, next int) error {
	if last <= phaseDefinitions && next > phaseDefinitions {
		if err := s.awaitDefinitions(ctx, a); err != nil {
			return err
		}
	}
	if next == phaseWorkloads {
		// Pods are refused before their namespace has its default account, and
		// controllers are slow to try again.
		return s.awaitAccounts(ctx, a)
	}
	return nil
}

func (a *applier) apply(ctx context.Context, o object) error {
	client, err := a.resource(o.Unstructured)
	if err != nil {
		return err
	}
	_, err = client.Apply(ctx, o.GetName(), o.Unstructured, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	return err
}

// resource returns the client for u's kind, in u's namespace or "default".
func (a *applier) resource(u *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := u.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, fmt.Errorf("this cluster does not serve it: %w", err)
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return a.client.Resource(mapping.Resource), nil
	}
	if u.GetNamespace() == "" {
		u.SetNamespace(metav1.NamespaceDefault)
	}
	return a.client.Resource(mapping.Resource).Namespace(u.GetNamespace()), nil
}

// awaitDefinitions waits until the API server serves the kinds that the scenario defines.
func (s *Scenario) awaitDefinitions(ctx context.Context, a *applier) error {
	names := map[string]bool{}
	for _, o := range s.objects {
		if phase(o.GetKind()) == phaseDefinitions {
			names[o.GetName()] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	gvr := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	err := awaitAll(ctx, a.client.Resource(gvr), names, func(u *unstructured.Unstructured) bool {
		return condition(u, "Established") == "True"
	})
	if err != nil {
		return fmt.Errorf("%s: wait for custom resource definitions: %w", s.Name, err)
	}
	a.mapper.Reset()
	return nil
}

// awaitAccounts waits for the default service account of every namespace in use.
func (s *Scenario) awaitAccounts(ctx context.Context, a *applier) error {
	names := map[string]bool{}
	for _, o := range s.objects {
		if phase(o.GetKind()) == phaseWorkloads {
			ns := o.GetNamespace()
			if ns == "" {
				ns = metav1.NamespaceDefault
			}
			names[ns+"/default"] = true
		}
	}
	err := awaitAll(ctx, a.client.Resource(corev1.SchemeGroupVersion.WithResource("serviceaccounts")), names,
		func(*unstructured.Unstructured) bool { return true })
	if err != nil {
		return fmt.Errorf("%s: wait for service accounts: %w", s.Name, err)
	}
	return nil
}

// awaitAll watches a resource in all namespaces until every object in names
// ("name" or "namespace/name") exists and is ok.
func awaitAll(ctx context.Context, client dynamic.NamespaceableResourceInterface, names map[string]bool, ok func(*unstructured.Unstructured) bool) error {
	pending := map[string]bool{}
	for name := range names {
		pending[name] = true
	}
	see := func(obj any, gone bool) {
		u, isObject := obj.(*unstructured.Unstructured)
		if !isObject {
			return
		}
		key := u.GetName()
		if u.GetNamespace() != "" {
			key = u.GetNamespace() + "/" + key
		}
		if names[key] {
			pending[key] = gone || !ok(u)
		}
	}
	done := func() bool {
		for _, p := range pending {
			if p {
				return false
			}
		}
		return true
	}
	_, err := watchtools.UntilWithSync(ctx, listWatch(client), &unstructured.Unstructured{},
		func(store cache.Store) (bool, error) {
			for _, obj := range store.List() {
				see(obj, false)
			}
			return done(), nil
		},
		func(e watch.Event) (bool, error) {
			see(e.Object, e.Type == watch.Deleted)
			return done(), nil
		})
	if err == nil {
		return nil
	}
	var missing []string
	for name, p := range pending {
		if p {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	if cause := context.Cause(ctx); cause != nil && !apierrors.IsForbidden(err) {
		err = cause
	}
	return fmt.Errorf("not ready: %v: %w", missing, err)
}

func listWatch(client dynamic.ResourceInterface) cache.ListerWatcher {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, options)
		},
	}
}

// condition returns the status of u's condition, "" if it has none of that type.
func condition(u *unstructured.Unstructured, conditionType string) string {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == conditionType {
			status, _ := m["status"].(string)
			return status
		}
	}
	return ""
}
