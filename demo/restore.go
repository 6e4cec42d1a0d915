// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/restore"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
)

// lost is the namespace that somebody deletes: the shop.
const lost = "shop"

// deletion is how long deleting it may take; it takes seconds.
const deletion = 2 * time.Minute

// Restored tells what a restore brought back.
type Restored struct {
	// Objects is how many objects the namespace had, Back how many of them are there
	// again, each the same by its UID.
	Objects, Back int
	// Outage is how long the API server did not answer.
	Outage time.Duration
}

// restore saves etcd, proves the snapshot, deletes a namespace and brings it back, as
// `refit backup save`, `refit backup verify` and `refit restore` do.
func (o *Options) restore(ctx context.Context, tw *twin.Twin, admin *rest.Config, store *run.Store) (*Restored, error) {
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	file := filepath.Join(tw.Dir(), "backup.db")
	proof, err := o.backup(ctx, tw, file)
	if err != nil {
		return nil, err
	}
	before, err := objects(ctx, admin, client)
	if err != nil {
		return nil, err
	}
	o.Say(fmt.Sprintf("somebody deletes the namespace %s with its %s", lost, phrase.Count(len(before), "object")))
	if err := o.remove(ctx, client); err != nil {
		return nil, err
	}
	restored := &Restored{Objects: len(before)}
	operator := o.restorer(tw, client, store, restored)
	prepared, err := operator.Prepare(ctx, restore.Request{
		File: file, Snapshot: proof.Status, Nodes: []string{tw.Name()}, ClusterUID: proof.Status.ClusterUID, Server: admin.Host, Access: inventory.Access{},
	})
	if err != nil {
		return nil, err
	}
	o.Say("restoring it")
	outcome, err := operator.Begin(ctx, prepared.Spec)
	if err != nil {
		return nil, err
	}
	if outcome.Result != event.ResultDone {
		return nil, fmt.Errorf("the restore ended %s: %s", outcome.Result, outcome.Reason)
	}
	after, err := objects(ctx, admin, client)
	if err != nil {
		return nil, err
	}
	for uid := range before {
		if after[uid] {
			restored.Back++
		}
	}
	return restored, nil
}

// backup saves a snapshot and proves it.
func (o *Options) backup(ctx context.Context, tw *twin.Twin, file string) (*etcd.Proof, error) {
	found, err := tw.Etcd()
	if err != nil {
		return nil, err
	}
	saved, err := etcd.Saver{Access: found.Access, Worker: o.Etcd, Clock: o.Clock}.Save(ctx, file)
	if err != nil {
		return nil, err
	}
	o.Say(fmt.Sprintf("saved etcd at revision %d: %.1f MB", saved.Revision, float64(saved.Bytes)/1e6))
	proof, err := o.Etcd.Verify(ctx, file, tw.Dir())
	if err != nil {
		return nil, err
	}
	o.Say(fmt.Sprintf("proved that it can be restored: %s", phrase.Count(proof.Decoded, "object")))
	return proof, nil
}

// remove deletes the namespace and waits until it is gone.
func (o *Options) remove(ctx context.Context, client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeoutCause(ctx, deletion, fmt.Errorf("the namespace %s is still there after %s", lost, deletion))
	defer cancel()
	namespaces := client.CoreV1().Namespaces()
	if err := namespaces.Delete(ctx, lost, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete the namespace %s: %w", lost, err)
	}
	tick := o.Clock.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := namespaces.Get(ctx, lost, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("look for the namespace %s: %w", lost, err)
		}
		select {
		case <-tick.C():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// restorer restores the twin and says what it does.
func (o *Options) restorer(tw *twin.Twin, client kubernetes.Interface, store *run.Store, restored *Restored) *restore.Operator {
	asks := &run.Operator{Client: client}
	return &restore.Operator{
		Store: store, Clock: o.Clock, Etcd: o.Etcd, Twin: tw, Reach: restore.Here, Ask: asks.Ask,
		Sink: event.SinkFunc(func(e event.Event) {
			switch e.Type {
			case event.Restoring, event.Warning:
				o.Say("  " + e.Message)
			case event.APIBack:
				restored.Outage += time.Duration(e.Seconds * float64(time.Second))
			}
		}),
	}
}

// objects are the UIDs of all that is in the namespace, but for what comes and goes by itself.
func objects(ctx context.Context, config *rest.Config, client kubernetes.Interface) (map[types.UID]bool, error) {
	lists, err := client.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		return nil, fmt.Errorf("ask which resources there are: %w", err)
	}
	reader, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	found := map[types.UID]bool{}
	for _, l := range lists {
		version, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("ask which resources there are: %w", err)
		}
		for _, r := range l.APIResources {
			if !slices.Contains(r.Verbs, "list") || r.Kind == "Event" || r.Kind == "Lease" {
				continue
			}
			list, err := reader.Resource(version.WithResource(r.Name)).Namespace(lost).List(ctx, metav1.ListOptions{})
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list %s of the namespace %s: %w", r.Name, lost, err)
			}
			for _, item := range list.Items {
				found[item.UID] = true
			}
		}
	}
	if len(found) == 0 {
		return nil, errors.New("the namespace " + lost + " has no objects")
	}
	return found, nil
}
