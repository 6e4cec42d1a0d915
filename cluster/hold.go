// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
)

// Held is a Watcher of a cluster that is not there: it holds objects and changes
// only when told to. Benchmarks and simulations have with it what the program
// has with a live one, at any size.
type Held struct{ *Watcher }

// Hold makes a Held of objects. Unlike FromObjects it keeps and trims the
// objects themselves, so they must be the caller's to give away, and they must
// have UIDs. Those of kinds that are not watched are an error. Stop ends it.
func Hold(objs []runtime.Object, opts ...Option) (*Held, error) {
	w := &Watcher{options: newOptions(opts), cancel: func() {}, done: make(chan struct{}), subs: map[*Subscription]struct{}{}}
	factory := informers.NewSharedInformerFactoryWithOptions(nil, 0, informers.WithTransform(trim))
	for _, src := range w.options.sources() {
		if err := w.add(factory, src); err != nil { // its informer is never run: only its store is used
			return nil, err
		}
	}
	h := &Held{w}
	for _, obj := range objs {
		if err := h.Put(obj); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Put adds an object, or puts it in the place of the one of its name, and tells
// the subscribers.
func (h *Held) Put(obj runtime.Object) error {
	x, err := h.sourceOf(obj)
	if err != nil {
		return err
	}
	if _, err := trim(obj); err != nil {
		return err
	}
	store := x.informer.GetIndexer()
	old, found, err := store.Get(obj)
	if err != nil {
		return fmt.Errorf("hold %T: %w", obj, err)
	}
	if err := store.Add(obj); err != nil {
		return fmt.Errorf("hold %T: %w", obj, err)
	}
	if found {
		h.handler(x.kind).OnUpdate(old, obj)
	} else {
		h.handler(x.kind).OnAdd(obj, false)
	}
	return nil
}

// Remove takes an object away and tells the subscribers.
func (h *Held) Remove(obj runtime.Object) error {
	x, err := h.sourceOf(obj)
	if err != nil {
		return err
	}
	if err := x.informer.GetIndexer().Delete(obj); err != nil {
		return fmt.Errorf("remove %T: %w", obj, err)
	}
	h.handler(x.kind).OnDelete(obj)
	return nil
}

func (h *Held) sourceOf(obj runtime.Object) (*watched, error) {
	if obj == nil {
		return nil, fmt.Errorf("hold: a snapshot has no place for nil")
	}
	resource := resourceOf(obj)
	for _, x := range h.watched {
		if x.resource.Resource == resource {
			return x, nil
		}
	}
	return nil, fmt.Errorf("hold: a snapshot has no place for %T", obj)
}

// resourceOf is the resource of the kind of obj: its plural, as the API has it for built-in kinds.
func resourceOf(obj runtime.Object) string {
	resource, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Kind: kindOf(obj)})
	return resource.Resource
}
