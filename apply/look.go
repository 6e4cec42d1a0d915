// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"refit.dev/refit/cluster"
	"refit.dev/refit/manifest"
	"refit.dev/refit/served"
)

const (
	// parallel is how many requests are under way at the same time.
	parallel = 16
	// fewObjects are asked for one by one; of more the whole list is read, without what is in the objects.
	fewObjects = 100
	pageSize   = 1000

	oneMetadata  = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
	listMetadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)

// live is what there is of an object in the cluster.
type live struct {
	uid     types.UID
	version string
	leaving bool
	// ours: it was applied by this field manager before.
	ours bool
}

// looker finds out what is there.
type looker struct {
	client rest.Interface
	mu     sync.Mutex
	found  map[manifest.Key]live
}

func (l *looker) note(k manifest.Key, m *metav1.ObjectMeta) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found[k] = live{uid: m.UID, version: m.ResourceVersion, leaving: m.DeletionTimestamp != nil, ours: slices.ContainsFunc(m.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == fieldManager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
	})}
}

// look finds the objects among targets that are there, their namespaces, and owners that are no targets.
func (l *looker) look(ctx context.Context, k *kinds, targets []*target) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	by := map[schema.GroupVersionResource][]*target{}
	mine := map[manifest.Key]bool{}
	for _, t := range targets {
		mine[t.key] = true
		if !t.defined { // what is not served is not there
			by[t.resource.GroupVersionResource] = append(by[t.resource.GroupVersionResource], t)
		}
	}
	for _, of := range by {
		if len(of) > fewObjects {
			namespaces := map[string]bool{}
			for _, t := range of {
				namespaces[t.GetNamespace()] = true
			}
			for namespace := range namespaces {
				group.Go(func() error { return l.list(ctx, &of[0].resource, namespace) })
			}
			continue
		}
		for _, t := range of {
			group.Go(func() error { return l.get(ctx, &t.resource, t.key) })
		}
	}
	for key := range others(targets, mine) {
		if r := k.preferred(schema.GroupKind{Group: key.Group, Kind: key.Kind}); r != nil && r.Namespaced == (key.Namespace != "") {
			group.Go(func() error { return l.get(ctx, r, key) })
		}
	}
	return group.Wait()
}

// others are namespaces and owners of targets that are no targets themselves.
func others(targets []*target, mine map[manifest.Key]bool) map[manifest.Key]bool {
	all := map[manifest.Key]bool{}
	for _, t := range targets {
		if ns := t.GetNamespace(); ns != "" && !mine[namespaceKey(ns)] {
			all[namespaceKey(ns)] = true
		}
		for _, owner := range manifest.Owners(t.Unstructured) {
			for _, key := range manifest.OwnerKeys(t.Unstructured, owner) {
				if !mine[key] {
					all[key] = true
				}
			}
		}
	}
	return all
}

func namespaceKey(name string) manifest.Key { return manifest.Key{Kind: "Namespace", Name: name} }

func (l *looker) get(ctx context.Context, r *served.Resource, key manifest.Key) error {
	text, _, err := served.Do(ctx, l.client.Get().AbsPath(r.Path(key.Namespace, key.Name)).SetHeader("Accept", oneMetadata))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return cluster.Explain(err, key.String())
	}
	var m metav1.PartialObjectMetadata
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	l.note(key, &m.ObjectMeta)
	return nil
}

func (l *looker) list(ctx context.Context, r *served.Resource, namespace string) error {
	for token := ""; ; {
		request := l.client.Get().AbsPath(r.Path(namespace, "")).SetHeader("Accept", listMetadata).Param("limit", strconv.Itoa(pageSize))
		if token != "" {
			request.Param("continue", token)
		}
		text, _, err := served.Do(ctx, request)
		if err != nil {
			return cluster.Explain(err, r.String())
		}
		var page metav1.PartialObjectMetadataList
		if err := json.Unmarshal(text, &page); err != nil {
			return fmt.Errorf("read %s: %w", r, err)
		}
		for i := range page.Items {
			m := &page.Items[i].ObjectMeta
			l.note(manifest.Key{Group: r.Group, Kind: r.Kind, Namespace: m.Namespace, Name: m.Name}, m)
		}
		if token = page.Continue; token == "" {
			return nil
		}
	}
}
