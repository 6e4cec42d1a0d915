// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"refit.dev/refit/cluster"
	"refit.dev/refit/manifest"
	"refit.dev/refit/served"
)

const (
	// parallelLists is how many resources are listed at the same time.
	parallelLists = 8
	// attempts is how often a cut is begun anew whose version is compacted away while it is taken:
	// etcd keeps five minutes by default.
	attempts = 3
)

// found is what the lists of a cut bring together.
type found struct {
	mu        sync.Mutex
	objects   []Object
	leaving   map[string]bool // namespaces that are being deleted
	selecting map[string]bool // Services that have endpoints made for them, namespace/name
	cut       *Cut
}

// Read takes a Cut. Errors carry a hint; they are ErrSelection if the Selection names what is not there. What
// only some resources are in the way of is no error: see Cut.Unread.
func Read(ctx context.Context, api *served.API, s Selection) (*Cut, error) {
	resources, unfit, err := s.resources(api)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		cut, err := readOnce(ctx, api, s, resources)
		if err == nil {
			cut.Unfit = unfit
			return cut, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read the cluster: %w", context.Cause(ctx))
		}
		if !errors.Is(err, errExpired) || attempt == attempts {
			return nil, err
		}
	}
}

// readOnce reads everything at one version; the error is errExpired if the server forgets it meanwhile.
func readOnce(ctx context.Context, api *served.API, s Selection, resources []wanted) (*Cut, error) {
	l := &lister{api: api, selection: s}
	if err := l.fix(ctx, resources); err != nil {
		return nil, err
	}
	cut := &Cut{ResourceVersion: l.version, Server: api.Server, LeftOut: map[manifest.Reason]int{}}
	var err error
	if cut.Cluster, err = l.cluster(ctx); err != nil {
		return nil, err
	}
	if cut.Namespaces, err = l.chosen(ctx); err != nil {
		return nil, err
	}
	f := &found{cut: cut, selecting: map[string]bool{}}
	for _, m := range api.Missing {
		if s.mayMean(m.Group, api) {
			cut.Unread = append(cut.Unread, Unread{Resource: m.Group.String(), Why: m.Why.Error()})
			cut.unread = append(cut.unread, "*."+m.Group.Group)
		}
	}
	if f.leaving, err = l.leavingNamespaces(ctx); err != nil {
		return nil, err
	}
	names := fileKinds(resources)
	lists, listCtx := errgroup.WithContext(ctx)
	lists.SetLimit(parallelLists)
	work, workCtx := errgroup.WithContext(listCtx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i := range resources {
		r := &resources[i]
		lists.Go(func() error {
			torn, err := l.each(workCtx, &r.Resource, func(page []rawItem) {
				work.Go(func() error { return f.take(r, names[r.GroupVersionResource], s, page) })
			})
			f.mu.Lock()
			defer f.mu.Unlock()
			if torn && err == nil {
				cut.Torn = append(cut.Torn, r.String())
			}
			if err == nil || !passable(err) {
				return err
			}
			cut.Unread = append(cut.Unread, Unread{Resource: r.String(), Why: err.Error()})
			cut.unread = append(cut.unread, manifest.KindDir(r.Group, names[r.GroupVersionResource]))
			return nil
		})
	}
	if err := errors.Join(lists.Wait(), work.Wait()); err != nil {
		return nil, err
	}
	cut.settle(f)
	return cut, nil
}

// passable errors are about one resource, and no reason to do without the others.
func passable(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsInternalError(err)
}

// mayMean tells whether a group whose resources are not known might hold some that are meant.
func (s Selection) mayMean(gv schema.GroupVersion, api *served.API) bool {
	if computed(gv.Group) {
		return false
	}
	if len(s.Kinds) == 0 {
		return true
	}
	for _, word := range s.Kinds {
		for _, r := range api.Named(word) {
			if r.Group == gv.Group {
				return true
			}
		}
	}
	return false
}

// take turns items of a list into files.
func (f *found) take(r *wanted, kind string, s Selection, items []rawItem) error {
	objects := make([]Object, 0, len(items))
	left := map[manifest.Reason]int{}
	var selecting []string
	for _, item := range items {
		u, err := item.decode(&r.Resource)
		if err != nil {
			return fmt.Errorf("read %s: %w", r, err)
		}
		service := u.GroupVersionKind().GroupKind() == schema.GroupKind{Kind: "Service"}
		if service && manifest.SelectsPods(u) {
			selecting = append(selecting, u.GetNamespace()+"/"+u.GetName())
		}
		if !s.hasNamespace(&r.Resource, u) {
			continue
		}
		reason := manifest.LeaveOut(u)
		if reason != "" && (reason == manifest.Leaving || !r.named && !s.Generated) {
			left[reason]++
			continue
		}
		o, err := file(r, kind, u)
		if err != nil {
			return err
		}
		o.endpoints = r.Group == "" && r.Resource.Resource == "endpoints" && !r.named && !s.Generated
		objects = append(objects, o)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects = append(f.objects, objects...)
	for _, name := range selecting {
		f.selecting[name] = true
	}
	for reason, n := range left {
		f.cut.LeftOut[reason] += n
	}
	return nil
}

// hasNamespace keeps, of namespaces, those that are selected.
func (s Selection) hasNamespace(r *served.Resource, u *unstructured.Unstructured) bool {
	if len(s.Namespaces) == 0 || r.Group != "" || r.Resource != "namespaces" {
		return true
	}
	for _, name := range s.Namespaces {
		if name == u.GetName() {
			return true
		}
	}
	return false
}

// file writes an object, without what is the server's.
func file(r *wanted, kind string, u *unstructured.Unstructured) (Object, error) {
	o := Object{
		Key: manifest.KeyOf(u), Path: manifest.Path(u.GetNamespace(), r.Group, kind, u.GetName()), uid: string(u.GetUID()), resource: r.String(),
		Stamp: string(u.GetUID()) + " " + u.GetResourceVersion(), Secret: r.Group == "" && r.Resource.Resource == "secrets",
	}
	if o.uid == "" { // some aggregated API servers give none
		o.uid = o.Path
	}
	manifest.Clean(u)
	var err error
	if o.Text, err = manifest.Encode(u.Object); err != nil {
		return o, fmt.Errorf("%s: %w", o.Key, err)
	}
	return o, nil
}

// fileKinds are the words for resources in paths: the kind, with the resource if two resources of a group would have the same.
func fileKinds(resources []wanted) map[schema.GroupVersionResource]string {
	kinds := map[schema.GroupVersionResource]string{}
	used := map[string]int{}
	for i := range resources {
		used[manifest.KindDir(resources[i].Group, resources[i].Kind)]++
	}
	for i := range resources {
		r := &resources[i]
		kinds[r.GroupVersionResource] = r.Kind
		if used[manifest.KindDir(r.Group, r.Kind)] > 1 {
			kinds[r.GroupVersionResource] = r.Kind + "," + r.Resource.Resource
		}
	}
	return kinds
}

// explain adds a hint to an error that ends a reading.
func explain(err error, what string) error { return cluster.Explain(err, what) }
