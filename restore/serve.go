// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin"
)

// What an API server keeps in etcd and serves to nobody
// (k8s.io/kubernetes/pkg/registry/core/service/ipallocator/storage, and
// k8s.io/kubernetes/pkg/controlplane/reconcilers), and what it or etcd removes by itself.
const (
	rangesName      = "ranges"
	masterLeases    = "masterleases"
	peerLeases      = "peerserverleases"
	eventsName      = "events"
	leasesName      = "leases"
	pageSize        = 500
	customPatience  = 30 * time.Second // until custom resources are served
	customLookEvery = 200 * time.Millisecond
)

// Serve starts the API server of a twin on what a snapshot holds, in a new directory under
// scratch (the system's for temporary files if ""), and lists every resource of which
// status, which is that of the file, names objects; those with encrypted objects are left
// out. The error is etcd.ErrUnproven if one cannot be listed, or has fewer objects.
func Serve(ctx context.Context, clk clock.WithTicker, worker Restorer, file, scratch string, status *etcd.Status) (_ *etcd.Served, err error) {
	if scratch == "" {
		scratch = os.TempDir()
	}
	dir, remove, err := etcd.Scratch(scratch)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	const peer = "https://127.0.0.1:2380" // nobody ever asks there
	server, err := twin.Serve(ctx, dir, func(dataDir string) error {
		return worker.Restore(ctx, file, etcd.Restore{DataDir: dataDir, Name: "served", PeerURLs: []string{peer}, InitialCluster: "served=" + peer, Token: "refit-verify"})
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.End(ctx)) }()
	s := &etcd.Served{Kubernetes: server.Version}
	l, err := newLister(server.Config)
	if err != nil {
		return nil, err
	}
	for _, r := range status.Resources {
		switch {
		case r.Encrypted > 0:
			s.Encrypted += r.Objects
			continue
		case r.Group == "" && slices.Contains([]string{rangesName, masterLeases, peerLeases}, r.Name):
			continue
		}
		n, err := l.count(ctx, clk, schema.GroupResource{Group: r.Group, Resource: r.Name})
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", file, etcd.ErrUnproven, err)
		}
		if n < r.Objects && r.Name != eventsName && r.Name != leasesName {
			return nil, fmt.Errorf("%s: %w: of %s an API server lists %d objects, and the snapshot has %d", file, etcd.ErrUnproven, groupResource(r), n, r.Objects)
		}
		s.Resources, s.Objects = s.Resources+1, s.Objects+n
	}
	return s, nil
}

func groupResource(r etcd.Resource) string {
	return schema.GroupResource{Group: r.Group, Resource: r.Name}.String()
}

// lister lists resources of whatever type.
type lister struct {
	discovery discovery.DiscoveryInterface
	reader    metadata.Interface
	served    map[schema.GroupResource]string // and the version
}

func newLister(config *rest.Config) (*lister, error) {
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	reader, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &lister{discovery: d, reader: reader}, nil
}

// discover asks what is served. Groups of servers that are not there are passed over.
func (l *lister) discover() error {
	lists, err := l.discovery.ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return fmt.Errorf("ask which resources there are: %w", err)
	}
	l.served = map[schema.GroupResource]string{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return fmt.Errorf("ask which resources there are: %w", err)
		}
		for _, r := range list.APIResources {
			l.served[schema.GroupResource{Group: version.Group, Resource: r.Name}] = version.Version
		}
	}
	return nil
}

// count is how many objects of a resource are listed. It waits until a custom one is served.
func (l *lister) count(ctx context.Context, clk clock.WithTicker, r schema.GroupResource) (int, error) {
	for deadline := clk.Now().Add(customPatience); l.served[r] == ""; {
		if err := l.discover(); err != nil {
			return 0, err
		}
		if l.served[r] != "" {
			break
		}
		if clk.Now().After(deadline) {
			return 0, hint.Wrap(fmt.Errorf("an API server does not serve %s", r), "it may be of an aggregated API server, or of a version of Kubernetes that is gone: see that nobody needs those objects")
		}
		timer := clk.NewTimer(customLookEvery)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return 0, context.Cause(ctx)
		}
	}
	n, options := 0, metav1.ListOptions{Limit: pageSize}
	for {
		list, err := l.reader.Resource(r.WithVersion(l.served[r])).List(ctx, options)
		if err != nil {
			return 0, fmt.Errorf("list %s: %w", r, err)
		}
		n += len(list.Items)
		if options.Continue = list.Continue; options.Continue == "" {
			return n, nil
		}
	}
}
