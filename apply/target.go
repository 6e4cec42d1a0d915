// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"refit.dev/refit/manifest"
	"refit.dev/refit/served"
)

// target is an object with where it goes.
type target struct {
	Object
	key      manifest.Key
	resource served.Resource
	// defined: its kind is defined by another object of the import, and not served yet.
	defined bool
}

func (t *target) path() string {
	return t.resource.Path(t.GetNamespace(), t.GetName())
}

// kinds are what an API server serves, and what it will once the definitions among the objects are there.
type kinds struct {
	api     *served.API
	defined map[schema.GroupVersionKind]served.Resource
}

func newKinds(api *served.API, objects []Object) *kinds {
	k := &kinds{api: api, defined: map[schema.GroupVersionKind]served.Resource{}}
	for _, o := range objects {
		if o.GroupVersionKind().GroupKind() == (schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}) {
			k.define(o.Unstructured)
		}
	}
	return k
}

// define notes what a definition defines. What is not as it should be is left to the API server to refuse.
func (k *kinds) define(crd *unstructured.Unstructured) {
	field := func(path ...string) string {
		text, _, _ := unstructured.NestedString(crd.Object, path...)
		return text
	}
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		name, _ := version["name"].(string)
		if on, _ := version["served"].(bool); !on {
			continue
		}
		gvk := schema.GroupVersionKind{Group: field("spec", "group"), Version: name, Kind: field("spec", "names", "kind")}
		k.defined[gvk] = served.Resource{
			GroupVersionResource: gvk.GroupVersion().WithResource(field("spec", "names", "plural")), Kind: gvk.Kind,
			Namespaced: field("spec", "scope") == "Namespaced", Verbs: []string{"get", "list", "create", "patch"},
		}
	}
}

// of finds the resource of a kind.
func (k *kinds) of(gvk schema.GroupVersionKind) (r served.Resource, defined bool, err error) {
	var others []string
	for i := range k.api.Resources {
		s := &k.api.Resources[i]
		if s.Kind != gvk.Kind || s.Group != gvk.Group {
			continue
		}
		if s.Version == gvk.Version {
			if !s.Can("patch") {
				return r, false, fmt.Errorf("%s cannot be applied", s)
			}
			return *s, false, nil
		}
		others = append(others, s.Version)
	}
	if r, ok := k.defined[gvk]; ok {
		return r, true, nil
	}
	if len(others) > 0 {
		return r, false, fmt.Errorf("this cluster serves %s in version %s, not in %s", gvk.GroupKind(), strings.Join(others, ", "), gvk.Version)
	}
	for _, m := range k.api.Missing {
		if m.Group.Group == gvk.Group {
			return r, false, fmt.Errorf("the API server of %s does not answer: %w", m.Group, m.Why)
		}
	}
	return r, false, fmt.Errorf("this cluster does not serve %s in version %s, and no definition of it is among the files", gvk.GroupKind(), gvk.Version)
}

// preferred finds the resource of a kind in whatever version.
func (k *kinds) preferred(gk schema.GroupKind) *served.Resource {
	i := slices.IndexFunc(k.api.Resources, func(r served.Resource) bool {
		return r.Preferred && r.Kind == gk.Kind && r.Group == gk.Group && r.Can("get")
	})
	if i < 0 {
		return nil
	}
	return &k.api.Resources[i]
}

// targets finds out where each object goes, and completes its namespace.
func (k *kinds) targets(objects []Object, namespace string) ([]*target, []string) {
	var all []*target
	var problems []string
	seen := map[manifest.Key]string{}
	for _, o := range objects {
		r, defined, err := k.of(o.GroupVersionKind())
		switch {
		case err != nil:
			problems = append(problems, fmt.Sprintf("%s: %s: %v", o.From, manifest.KeyOf(o.Unstructured), err))
			continue
		case r.Namespaced && o.GetNamespace() == "":
			o.SetNamespace(namespace)
		case !r.Namespaced:
			o.SetNamespace("") // as the API server does: charts often say one
		}
		t := &target{Object: o, key: manifest.KeyOf(o.Unstructured), resource: r, defined: defined}
		if before, twice := seen[t.key]; twice {
			problems = append(problems, fmt.Sprintf("%s is in %s and in %s", t.key, before, o.From))
			continue
		}
		seen[t.key] = o.From
		all = append(all, t)
	}
	return all, problems
}
