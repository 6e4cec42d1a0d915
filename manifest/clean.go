// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// serverMetadata are the fields of metadata that the API server writes, whatever a client says
// (ObjectMeta in k8s.io/apimachinery/pkg/apis/meta/v1).
var serverMetadata = [...]string{
	"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
}

// serverAnnotations are annotations that clients and controllers keep for themselves, and write again.
var serverAnnotations = [...]string{
	"kubectl.kubernetes.io/last-applied-configuration", // kubectl apply
	"deployment.kubernetes.io/revision",                // the Deployment controller counts rollouts
	"deprecated.daemonset.template.generation",
	"pv.kubernetes.io/bind-completed", // what the volume binder has done; with it a claim whose volume is not there yet is lost
	"pv.kubernetes.io/bound-by-controller",
	"volume.kubernetes.io/selected-node",
	"volume.kubernetes.io/storage-provisioner",
	"volume.beta.kubernetes.io/storage-provisioner",
}

// Clean takes out of an object, in place, what is not its user's: the server's metadata, the status, the annotations that
// controllers write again, finalizers of Kubernetes' own, addresses and ports that the server has given out, and
// what binds it to one cluster. It is told by managedFields, so they have to be there still, which of them a
// user has chosen. UIDs of owners go, too: who imports the object looks them up.
func Clean(u *unstructured.Unstructured) {
	of := ownedFields(u)
	CleanMetadata(u)
	delete(u.Object, "status")
	if annotations, ok := nestedMap(u.Object, "metadata", "annotations"); ok {
		for _, name := range serverAnnotations {
			delete(annotations, name)
		}
		if len(annotations) == 0 {
			unstructured.RemoveNestedField(u.Object, "metadata", "annotations")
		}
	}
	cleanFinalizers(u)
	if kind := kindCleaners()[u.GroupVersionKind().GroupKind()]; kind != nil {
		kind(u.Object, of)
	}
	dropNullTimestamps(u.Object)
}

// CleanMetadata takes the server's metadata out of an object, in place, and the UIDs of its owners.
func CleanMetadata(u *unstructured.Unstructured) {
	metadata, ok := nestedMap(u.Object, "metadata")
	if !ok {
		return
	}
	for _, field := range serverMetadata {
		delete(metadata, field)
	}
	owners, _ := metadata["ownerReferences"].([]any)
	for _, o := range owners {
		if owner, ok := o.(map[string]any); ok {
			delete(owner, "uid")
		}
	}
}

// cleanFinalizers removes the finalizers that Kubernetes' controllers and admission set again. Those of
// others stay: who has set them knows why.
func cleanFinalizers(u *unstructured.Unstructured) {
	kept := slices.DeleteFunc(u.GetFinalizers(), func(f string) bool {
		domain, _, qualified := strings.Cut(f, "/")
		return !qualified || domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".k8s.io")
	})
	if len(kept) == 0 {
		unstructured.RemoveNestedField(u.Object, "metadata", "finalizers")
		return
	}
	u.SetFinalizers(kept)
}

// dropNullTimestamps removes the creationTimestamp: null that older servers and generators write into templates.
func dropNullTimestamps(value any) {
	switch v := value.(type) {
	case map[string]any:
		if at, there := v["creationTimestamp"]; there && at == nil {
			delete(v, "creationTimestamp")
		}
		for _, inner := range v {
			dropNullTimestamps(inner)
		}
	case []any:
		for _, inner := range v {
			dropNullTimestamps(inner)
		}
	}
}

// cleaner takes out what is special to a kind. owned are the fields that somebody has set.
type cleaner func(object map[string]any, owned fields)

func kindCleaners() map[schema.GroupKind]cleaner {
	return map[schema.GroupKind]cleaner{
		{Kind: "Namespace"}:                cleanNamespace,
		{Kind: "Service"}:                  cleanService,
		{Kind: "ServiceAccount"}:           cleanServiceAccount,
		{Kind: "PersistentVolume"}:         cleanVolume,
		{Kind: "Pod"}:                      cleanPod,
		{Group: "batch", Kind: "Job"}:      cleanJob,
		{Group: rbac, Kind: "ClusterRole"}: cleanClusterRole,
	}
}

// nestedMap is the map at a path, as it is and not a copy.
func nestedMap(object map[string]any, path ...string) (map[string]any, bool) {
	for _, field := range path {
		inner, ok := object[field].(map[string]any)
		if !ok {
			return nil, false
		}
		object = inner
	}
	return object, true
}

// fields are the names of fields under one path that somebody owns, after managedFields.
type fields []map[string]any

// ownedFields are what the managers of an object have set.
func ownedFields(u *unstructured.Unstructured) fields {
	entries, _, _ := unstructured.NestedSlice(u.Object, "metadata", "managedFields")
	var all fields
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		if sub, _ := entry["subresource"].(string); sub != "" {
			continue
		}
		if set, ok := entry["fieldsV1"].(map[string]any); ok {
			all = append(all, set)
		}
	}
	return all
}

// under are the fields below one, an f: of managedFields.
func (f fields) under(names ...string) fields {
	all := f
	for _, name := range names {
		var next fields
		for _, set := range all {
			if inner, ok := set["f:"+name].(map[string]any); ok {
				next = append(next, inner)
			}
		}
		all = next
	}
	return all
}

// has tells whether somebody owns a field.
func (f fields) has(name string) bool {
	return slices.ContainsFunc(f, func(set map[string]any) bool { _, ok := set["f:"+name]; return ok })
}

// elements are the elements of a list, k: of managedFields, by their keys as they are written there.
func (f fields) elements() map[string]fields {
	all := map[string]fields{}
	for _, set := range f {
		for _, key := range slices.Sorted(maps.Keys(set)) {
			if inner, ok := set[key].(map[string]any); ok && strings.HasPrefix(key, "k:") {
				all[key] = append(all[key], inner)
			}
		}
	}
	return all
}
