// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package served

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"refit.dev/refit/cluster"
)

// Resource is one version of a resource.
type Resource struct {
	schema.GroupVersionResource
	Kind       string
	Singular   string
	ShortNames []string
	Categories []string
	Namespaced bool
	Verbs      []string
	// Preferred: it is the version that the server would rather be asked for.
	Preferred bool
	// Aggregated: another API server has it, with a storage of its own.
	Aggregated bool
}

// Can tells whether the resource has all of these verbs.
func (r *Resource) Can(verbs ...string) bool {
	return !slices.ContainsFunc(verbs, func(v string) bool { return !slices.Contains(r.Verbs, v) })
}

// Path is that of the resource in the API: in a namespace, of one object, unless they are "".
func (r *Resource) Path(namespace, name string) string {
	path := "/apis/" + r.Group + "/" + r.Version
	if r.Group == "" {
		path = "/api/" + r.Version
	}
	if namespace != "" && r.Namespaced {
		path += "/namespaces/" + namespace
	}
	path += "/" + r.Resource
	if name != "" {
		path += "/" + name
	}
	return path
}

// String is the name that kubectl takes: deployments.apps.
func (r *Resource) String() string { return r.GroupResource().String() }

// Missing is a version of a group of which the resources are not known.
type Missing struct {
	Group schema.GroupVersion
	Why   error
}

// API is what a server serves.
type API struct {
	// Resources are all versions of all resources, without subresources; by group, name, and
	// version as the server prefers them.
	Resources []Resource
	// Missing are the groups whose API servers do not answer, sorted.
	Missing []Missing
	// Client sends requests.
	Client rest.Interface
	// Server tells where it was asked, and nothing else: it is the same for the same address and authority of a kubeconfig.
	Server string
}

// Read asks an API server what it serves. Errors carry a hint.
func Read(ctx context.Context, config *rest.Config) (*API, error) {
	config = rest.CopyConfig(config)
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	config.WarningHandler = rest.NoWarnings{} // who reads everything reads what is deprecated, too
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", cluster.ServerName(config.Host), err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", cluster.ServerName(config.Host), err)
	}
	server, err := serverOf(config)
	if err != nil {
		return nil, err
	}
	api := &API{Client: client, Server: server}
	groups, lists, err := disco.ServerGroupsAndResourcesWithContext(ctx)
	if failed, some := errors.AsType[*discovery.ErrGroupDiscoveryFailed](err); some {
		for _, gv := range slices.SortedFunc(maps.Keys(failed.Groups), func(a, b schema.GroupVersion) int { return strings.Compare(a.String(), b.String()) }) {
			api.Missing = append(api.Missing, Missing{Group: gv, Why: failed.Groups[gv]})
		}
	} else if err != nil {
		return nil, cluster.Explain(err, "what the API server serves")
	}
	api.Resources = resources(groups, lists)
	aggregated := api.aggregated(ctx)
	for i := range api.Resources {
		api.Resources[i].Aggregated = aggregated[api.Resources[i].GroupVersion()]
	}
	return api, nil
}

// resources puts what discovery says into one list.
func resources(groups []*metav1.APIGroup, lists []*metav1.APIResourceList) []Resource {
	rank := map[schema.GroupVersion]int{} // the preferred version first, then as the server orders them
	for _, g := range groups {
		for i, v := range g.Versions {
			r := i + 1
			if v.Version == g.PreferredVersion.Version {
				r = 0
			}
			rank[schema.GroupVersion{Group: g.Name, Version: v.Version}] = r
		}
	}
	var all []Resource
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue // no group that anything could be asked of
		}
		for i := range l.APIResources {
			r := &l.APIResources[i]
			if strings.Contains(r.Name, "/") {
				continue
			}
			all = append(all, Resource{
				GroupVersionResource: gv.WithResource(r.Name), Kind: r.Kind, Singular: r.SingularName, ShortNames: r.ShortNames,
				Categories: r.Categories, Namespaced: r.Namespaced, Verbs: r.Verbs,
			})
		}
	}
	slices.SortStableFunc(all, func(a, b Resource) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Resource, b.Resource), cmp.Compare(rank[a.GroupVersion()], rank[b.GroupVersion()]))
	})
	for i := range all {
		all[i].Preferred = i == 0 || all[i].GroupResource() != all[i-1].GroupResource()
	}
	return all
}

// aggregated are the group versions that other API servers have. Who may not read APIServices finds none of
// them; what depends on it is told by what the lists say of themselves, too.
func (a *API) aggregated(ctx context.Context) map[schema.GroupVersion]bool {
	text, _, err := Do(ctx, a.Client.Get().AbsPath("/apis/apiregistration.k8s.io/v1/apiservices"))
	if err != nil {
		return nil
	}
	var list struct {
		Items []struct {
			Spec struct {
				Group, Version string
				Service        *struct{ Name string }
			}
		}
	}
	if json.Unmarshal(text, &list) != nil {
		return nil
	}
	all := map[schema.GroupVersion]bool{}
	for _, s := range list.Items {
		if s.Spec.Service != nil {
			all[schema.GroupVersion{Group: s.Spec.Group, Version: s.Spec.Version}] = true
		}
	}
	return all
}

// Do sends a request, and returns the answer as it is on the wire, with its code. Errors are what the API server says, as package
// apierrors knows them, with all details.
func Do(ctx context.Context, request *rest.Request) (text []byte, code int, err error) {
	result := request.Do(ctx).StatusCode(&code)
	if err := result.Error(); err != nil { // Raw leaves out what the server has said
		return nil, code, err
	}
	text, err = result.Raw()
	return text, code, err
}

// Named are the resources, each in its preferred version, that a word means as kubectl takes it: a plural, a
// singular, a kind, a short name or a category, in any case, all but the last with .GROUP if one is meant.
func (a *API) Named(word string) []Resource {
	name, group, qualified := strings.Cut(strings.ToLower(word), ".")
	var found, category []Resource
	for i := range a.Resources {
		r := &a.Resources[i]
		if !r.Preferred || qualified && r.Group != group {
			continue
		}
		names := append([]string{r.Resource, r.Singular, strings.ToLower(r.Kind)}, r.ShortNames...)
		if slices.Contains(names, name) {
			found = append(found, *r)
		}
		if !qualified && slices.Contains(r.Categories, name) {
			category = append(category, *r)
		}
	}
	if len(found) == 0 {
		return category
	}
	return found
}
