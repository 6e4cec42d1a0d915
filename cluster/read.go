// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

const (
	pageSize      = 1000 // objects asked for at once: bounds what the API server has to hold for one answer
	parallelLists = 6
)

// Read takes a Snapshot of the cluster from lists. The first list fixes a
// resource version N and all others ask for exactly N
// (https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list),
// so that the picture is of one moment. A list that the server cannot give at N,
// because N is compacted already or the resource is kept in another etcd, is
// taken as it is now, and a Finding with CodeTorn in Unread says so.
//
// Nodes, pods, budgets and workloads must be readable; what else is forbidden is
// left out and told in Unread. Errors carry a hint.
func Read(ctx context.Context, client kubernetes.Interface, opts ...Option) (*Snapshot, error) {
	o := newOptions(opts)
	v, err := greet(ctx, client, o.clock)
	if err != nil {
		return nil, err
	}
	srcs := o.sources()
	lists := make([]listed, len(srcs))
	r := reader{client: client}
	if len(srcs) > 0 {
		lists[0] = r.read(ctx, srcs[0])
		r.version = lists[0].version
	}
	group, listCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLists)
	for i := 1; i < len(srcs); i++ {
		group.Go(func() error {
			lists[i] = r.read(listCtx, srcs[i])
			if srcs[i].unknown == "" {
				return lists[i].err // no use in going on with the others
			}
			return nil
		})
	}
	_ = group.Wait() // every error is in lists; the first of them in the order of sources is told

	var all objects
	var unread []Finding
	var torn []string
	for i, src := range srcs {
		switch err := lists[i].err; {
		case err == nil:
		case src.unknown != "" && apierrors.IsForbidden(err), src.unknown != "" && apierrors.IsNotFound(err):
			unread = append(unread, src.unread(err))
			continue
		default:
			if ctx.Err() == nil && listCtx.Err() != nil && lists[i].aborted {
				continue // ended because of another one's error, which is told instead
			}
			return nil, explainResource(err, src.resource.GroupResource())
		}
		if lists[i].version != r.version {
			torn = append(torn, src.resource.Resource)
		}
		for _, obj := range lists[i].items {
			if err := all.add(obj); err != nil {
				return nil, fmt.Errorf("read %s: %w", src.resource.Resource, err)
			}
		}
	}
	if len(torn) > 0 {
		unread = append(unread, tornFinding(r.version, torn))
	}
	s := assemble(o.clock.Now().Add(v.ahead), &all, unread)
	s.Server, s.Emulated = v.version, v.emulated
	if len(torn) == 0 {
		s.ResourceVersion = r.version
	}
	return s, nil
}

func tornFinding(version string, resources []string) Finding {
	return Finding{
		Severity: Info,
		Code:     CodeTorn,
		Object:   Object{Kind: "Cluster", Name: "cluster"},
		Message: fmt.Sprintf("the API server could not list everything as of resource version %s; of a later moment: %s",
			version, strings.Join(resources, ", ")),
		Hint: "objects that changed in between may look inconsistent; run it again if something looks odd",
	}
}

// listed is what came of reading one source.
type listed struct {
	items   []runtime.Object
	version string
	err     error
	aborted bool // by the context
}

type reader struct {
	client  kubernetes.Interface
	version string // that everything is read at; "" takes what is there now
}

// read lists everything of src at the reader's version if the server can do that.
func (r *reader) read(ctx context.Context, src source) listed {
	first := metav1.ListOptions{Limit: pageSize}
	if r.version != "" {
		first.ResourceVersion, first.ResourceVersionMatch = r.version, metav1.ResourceVersionMatchExact
	}
	l := r.pages(ctx, src, first)
	if l.err != nil && cannotServeVersion(l.err) {
		// At once, not in pages: the token of the next page expires like a version does.
		l = r.pages(ctx, src, metav1.ListOptions{})
	}
	l.aborted = l.err != nil && ctx.Err() != nil
	return l
}

func (r *reader) pages(ctx context.Context, src source, opts metav1.ListOptions) (l listed) {
	for {
		page, err := src.list(ctx, r.client, opts)
		if err != nil {
			l.err = err
			return l
		}
		err = meta.EachListItem(page, func(obj runtime.Object) error {
			_, err := trim(obj)
			l.items = append(l.items, obj)
			return err
		})
		if err != nil {
			l.err = err
			return l
		}
		list, err := meta.ListAccessor(page)
		if err != nil {
			l.err = err
			return l
		}
		l.version = list.GetResourceVersion()
		if list.GetContinue() == "" {
			return l
		}
		opts = metav1.ListOptions{Limit: pageSize, Continue: list.GetContinue()}
	}
}

// cannotServeVersion tells whether the server has no list at the version asked
// for: compacted (410), ahead of what its etcd knows (504 with a cause), or the
// match is not understood (400, 422).
func cannotServeVersion(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsTimeout(err) ||
		apierrors.IsBadRequest(err) || apierrors.IsInvalid(err)
}

// server is what the API server says of itself.
type server struct {
	version, emulated string
	ahead             time.Duration // of the clock of this machine, the one that was given
}

// greet asks the API server who it is, and what the time is. It is the first request of all,
// so its error is the one that tells of an address or of credentials that do not work.
func greet(ctx context.Context, client kubernetes.Interface, c clock.PassiveClock) (server, error) {
	asking, d, err := dated(client, c)
	if err != nil {
		return server{}, err
	}
	info, err := discovery.ToServerVersionInterfaceWithContext(asking).ServerVersionWithContext(ctx)
	if err != nil {
		return server{}, explain(err, "the version of the API server")
	}
	v := server{version: info.GitVersion, ahead: d.ahead}
	if info.EmulationMajor != "" && (info.EmulationMajor != info.Major || info.EmulationMinor != info.Minor) {
		v.emulated = "v" + info.EmulationMajor + "." + info.EmulationMinor
	}
	return v, nil
}
