// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/served"
)

// pageSize is how many objects are asked for at once: it bounds what the API server holds for one answer.
const pageSize = 500

// errExpired says that the API server does not know the version of a cut any more.
var errExpired = errors.New("the API server has compacted the resource version away that the export reads at")

// rawItem is an object as it came.
type rawItem json.RawMessage

// UnmarshalJSON keeps the text.
func (i *rawItem) UnmarshalJSON(text []byte) error {
	*i = slices.Clone(text)
	return nil
}

// decode reads the object; in lists, kinds of some servers are missing.
func (i rawItem) decode(r *served.Resource) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(i, &u.Object); err != nil {
		return nil, fmt.Errorf("an object: %w", err)
	}
	u.SetAPIVersion(r.GroupVersion().String())
	u.SetKind(r.Kind)
	return u, nil
}

// page is one answer to a list.
type page struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"`
	} `json:"metadata"`
	Items []rawItem `json:"items"`
}

// lister lists resources at one version.
type lister struct {
	api       *served.API
	selection Selection
	version   string
}

// fix finds out which version there is now, by the smallest list that may be read.
func (l *lister) fix(ctx context.Context, resources []wanted) error {
	var first error
	for _, r := range l.candidates(resources) {
		for _, namespace := range l.namespaces(r) {
			p, err := l.page(ctx, l.api.Client.Get().AbsPath(r.Path(namespace, "")).Param("limit", "1"))
			if err == nil && p.Metadata.ResourceVersion != "" && p.Metadata.ResourceVersion != "0" {
				l.version = p.Metadata.ResourceVersion
				return nil
			}
			if first == nil {
				first = err
			}
			if err != nil && !passable(err) {
				return explain(err, r.String())
			}
		}
	}
	if first == nil {
		return hint.Wrap(errors.New("nothing can be listed that tells the version of the cluster"), "see what you may read: kubectl auth can-i --list")
	}
	return explain(first, "what the version of the cluster is")
}

// candidates are namespaces, if they can be listed, and then whatever is read anyway.
func (l *lister) candidates(resources []wanted) []*served.Resource {
	var all []*served.Resource
	for i := range l.api.Resources {
		if r := &l.api.Resources[i]; r.Group == "" && r.Resource == "namespaces" && r.Preferred {
			all = append(all, r)
		}
	}
	for i := range resources {
		if !resources[i].Aggregated {
			all = append(all, &resources[i].Resource)
		}
	}
	return all
}

// namespaces are those that a resource is listed in, "" for all of them.
func (l *lister) namespaces(r *served.Resource) []string {
	if r.Namespaced && len(l.selection.Namespaces) > 0 {
		return l.selection.Namespaces
	}
	return []string{""}
}

// cluster is what tells the cluster from others.
func (l *lister) cluster(ctx context.Context) (string, error) {
	return l.namespaceUID(ctx, metav1.NamespaceSystem)
}

// chosen are the UIDs of the namespaces that the selection names: they tell the cluster for who may not look
// beyond his own.
func (l *lister) chosen(ctx context.Context) (map[string]string, error) {
	uids := map[string]string{}
	for _, name := range l.selection.Namespaces {
		uid, err := l.namespaceUID(ctx, name)
		if err != nil {
			return nil, err
		}
		if uid != "" {
			uids[name] = uid
		}
	}
	return uids, nil
}

// namespaceUID is the UID of a namespace, "" if it may not be read or is not there.
func (l *lister) namespaceUID(ctx context.Context, name string) (string, error) {
	text, _, err := served.Do(ctx, l.api.Client.Get().AbsPath("/api/v1/namespaces", name))
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", explain(err, "namespace "+name)
	}
	var namespace metav1.PartialObjectMetadata
	if err := json.Unmarshal(text, &namespace); err != nil {
		return "", fmt.Errorf("read namespace %s: %w", name, err)
	}
	return string(namespace.UID), nil
}

// leavingNamespaces are those that are being deleted; none are known to who may not list them.
func (l *lister) leavingNamespaces(ctx context.Context) (map[string]bool, error) {
	leaving := map[string]bool{}
	for i := range l.api.Resources {
		r := &l.api.Resources[i]
		if r.Group != "" || r.Resource != "namespaces" || !r.Preferred {
			continue
		}
		plain := *l
		plain.selection = Selection{}
		_, err := plain.each(ctx, r, func(items []rawItem) {
			for _, item := range items {
				if u, err := item.decode(r); err == nil && u.GetDeletionTimestamp() != nil {
					leaving[u.GetName()] = true
				}
			}
		})
		if err != nil && !passable(err) {
			return nil, explain(err, r.String())
		}
	}
	return leaving, nil
}

// each lists a resource page by page. torn says that it is not of the version of the cut.
func (l *lister) each(ctx context.Context, r *served.Resource, use func([]rawItem)) (torn bool, err error) {
	for _, namespace := range l.namespaces(r) {
		t, err := l.eachIn(ctx, r, namespace, use)
		torn = torn || t
		if err != nil {
			return torn, err
		}
	}
	return torn, nil
}

func (l *lister) eachIn(ctx context.Context, r *served.Resource, namespace string, use func([]rawItem)) (torn bool, err error) {
	exact := !r.Aggregated // others have another etcd, and other versions
	token := ""
	for first := true; ; first = false {
		request := l.api.Client.Get().AbsPath(r.Path(namespace, "")).Param("limit", strconv.Itoa(pageSize))
		if s := l.selection.Labels; s != nil && !s.Empty() && !(r.Group == "" && r.Resource == "namespaces" && len(l.selection.Namespaces) > 0) {
			request.Param("labelSelector", s.String())
		}
		if token != "" {
			request.Param("continue", token)
		} else if exact {
			request.Param("resourceVersion", l.version).Param("resourceVersionMatch", "Exact")
		}
		p, err := l.page(ctx, request)
		switch {
		case err == nil:
		case exact && (apierrors.IsResourceExpired(err) || apierrors.IsGone(err)):
			return torn, errExpired
		case exact && first && (apierrors.IsBadRequest(err) || apierrors.IsInvalid(err) || apierrors.IsTimeout(err)):
			exact = false // kept in another etcd, or the server does not know what Exact is
			continue
		default:
			return torn, explainPage(err, r)
		}
		torn = torn || p.Metadata.ResourceVersion != l.version
		use(p.Items)
		if token = p.Metadata.Continue; token == "" {
			return torn, nil
		}
	}
}

// explainPage keeps what passable looks at.
func explainPage(err error, r *served.Resource) error {
	if passable(err) {
		return err
	}
	return explain(err, r.String())
}

func (l *lister) page(ctx context.Context, request *rest.Request) (*page, error) {
	text, _, err := served.Do(ctx, request)
	if err != nil {
		return nil, err
	}
	p := &page{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("what the API server answered: %w", err)
	}
	return p, nil
}
