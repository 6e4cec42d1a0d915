// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

type ownerReference = metav1.OwnerReference

// Key says which object is meant, in whatever version it is read.
type Key struct {
	Group, Kind, Namespace, Name string
}

// KeyOf is the Key of an object.
func KeyOf(u *unstructured.Unstructured) Key {
	gk := u.GroupVersionKind().GroupKind()
	return Key{Group: gk.Group, Kind: gk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

// String is kind.group namespace/name, as it stands in sentences.
func (k Key) String() string {
	text := k.Kind
	if k.Group != "" {
		text += "." + k.Group
	}
	if k.Namespace != "" {
		return text + " " + k.Namespace + "/" + k.Name
	}
	return text + " " + k.Name
}

// OwnerKeys are the objects that may be meant by an owner reference of an object: one in its own namespace, or one
// without a namespace; a reference does not say which.
func OwnerKeys(u *unstructured.Unstructured, owner metav1.OwnerReference) []Key {
	gk := schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind()
	k := Key{Group: gk.Group, Kind: gk.Kind, Name: owner.Name}
	if u.GetNamespace() == "" {
		return []Key{k}
	}
	inside := k
	inside.Namespace = u.GetNamespace()
	return []Key{inside, k}
}

// Remap gives the owner references of an object, in place, the UIDs that their owners have now. A
// reference whose owner is not there is removed and returned: with a UID that does not exist the garbage
// collector would delete the object.
func Remap(u *unstructured.Unstructured, uid func(Key) (types.UID, bool)) (lost []metav1.OwnerReference) {
	all, _, _ := unstructured.NestedSlice(u.Object, "metadata", "ownerReferences")
	if len(all) == 0 {
		return nil
	}
	var kept []any
	for i, owner := range Owners(u) {
		entry, _ := all[i].(map[string]any)
		found := false
		for _, key := range OwnerKeys(u, owner) {
			var id types.UID
			if id, found = uid(key); found {
				entry["uid"] = string(id)
				kept = append(kept, entry)
				break
			}
		}
		if !found {
			lost = append(lost, owner)
		}
	}
	metadata, _ := nestedMap(u.Object, "metadata")
	if delete(metadata, "ownerReferences"); len(kept) > 0 {
		metadata["ownerReferences"] = kept
	}
	return lost
}

// Owners are the owner references of an object, each one of them: GetOwnerReferences leaves all out if one has no UID.
func Owners(u *unstructured.Unstructured) []metav1.OwnerReference {
	all, _, _ := unstructured.NestedSlice(u.Object, "metadata", "ownerReferences")
	owners := make([]metav1.OwnerReference, 0, len(all))
	for _, o := range all {
		m, _ := o.(map[string]any)
		var r metav1.OwnerReference
		r.APIVersion, _ = m["apiVersion"].(string)
		r.Kind, _ = m["kind"].(string)
		r.Name, _ = m["name"].(string)
		if c, ok := m["controller"].(bool); ok {
			r.Controller = &c
		}
		owners = append(owners, r)
	}
	return owners
}
