// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

const (
	indexNode       = "node"
	indexUID        = "uid"
	indexClaim      = "claim"
	indexController = "controller"
)

// indexers are those by which objects of kind are looked up.
func indexers(kind Kind) cache.Indexers {
	switch kind {
	case KindPod:
		return cache.Indexers{indexController: controllerUID, indexNode: func(obj any) ([]string, error) {
			if pod, ok := obj.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
				return []string{pod.Spec.NodeName}, nil
			}
			return nil, nil
		}}
	case KindAttachment:
		return cache.Indexers{indexNode: func(obj any) ([]string, error) {
			if a, ok := obj.(*storagev1.VolumeAttachment); ok {
				return []string{a.Spec.NodeName}, nil
			}
			return nil, nil
		}}
	case KindWorkload:
		return cache.Indexers{indexController: controllerUID, indexUID: func(obj any) ([]string, error) {
			if m, ok := obj.(metav1.Object); ok {
				return []string{string(m.GetUID())}, nil
			}
			return nil, nil
		}}
	case KindVolume:
		return cache.Indexers{indexClaim: func(obj any) ([]string, error) {
			if pv, ok := obj.(*corev1.PersistentVolume); ok && pv.Spec.ClaimRef != nil {
				return []string{pv.Spec.ClaimRef.Namespace + "/" + pv.Spec.ClaimRef.Name}, nil
			}
			return nil, nil
		}}
	}
	return cache.Indexers{}
}

// controllerUID is the index function for the identity of what controls an object.
func controllerUID(obj any) ([]string, error) {
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil, nil
	}
	if ref := controllerRef(m); ref != nil {
		return []string{string(ref.UID)}, nil
	}
	return nil, nil
}

// Reads tells whether kind is watched and may be read.
func (w *Watcher) Reads(kind Kind) bool {
	found := false
	for _, x := range w.watched {
		if x.kind != kind {
			continue
		}
		found = true
		select {
		case <-x.dropped:
			return false
		default:
		}
	}
	return found
}

// store returns the cache of the only source of kind; an empty one if kind is not watched.
func (w *Watcher) store(kind Kind) cache.Indexer {
	for _, x := range w.watched {
		if x.kind == kind {
			return x.informer.GetIndexer()
		}
	}
	return cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexersWithNamespace(kind))
}

func indexersWithNamespace(kind Kind) cache.Indexers {
	x := indexers(kind)
	x[cache.NamespaceIndex] = cache.MetaNamespaceIndexFunc
	return x
}

// get returns the object of that name, or nil.
func get[T any](w *Watcher, kind Kind, namespace, name string) *T {
	key := name
	if namespace != "" {
		key = namespace + "/" + name
	}
	obj, _, _ := w.store(kind).GetByKey(key)
	t, _ := obj.(*T)
	return t
}

// indexed returns the objects under key of an index for which keep is true (nil:
// all of them), sorted by namespace and name.
func indexed[T any, P interface {
	*T
	metav1.Object
}](w *Watcher, kind Kind, index, key string, keep func(*T) bool) []*T {
	objs, _ := w.store(kind).ByIndex(index, key) // the only error is an index that does not exist
	var found []*T
	for _, obj := range objs {
		if t, ok := obj.(*T); ok && (keep == nil || keep(t)) {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *T) int { return compareMeta(P(a), P(b)) })
	return found
}

// Node returns the node of that name, or nil.
func (w *Watcher) Node(name string) *corev1.Node {
	return get[corev1.Node](w, KindNode, "", name)
}

// Pod returns the pod of that name, or nil.
func (w *Watcher) Pod(namespace, name string) *corev1.Pod {
	return get[corev1.Pod](w, KindPod, namespace, name)
}

// PodsOn returns the pods bound to a node, finished and terminating ones included.
func (w *Watcher) PodsOn(node string) []*corev1.Pod {
	return indexed[corev1.Pod](w, KindPod, indexNode, node, nil)
}

// Budget returns the disruption budget of that name, or nil.
func (w *Watcher) Budget(namespace, name string) *policyv1.PodDisruptionBudget {
	return get[policyv1.PodDisruptionBudget](w, KindBudget, namespace, name)
}

// BudgetsOf returns the budgets whose selector matches pod, as the Eviction API
// sees it: an empty selector matches every pod of the namespace, a missing one none.
func (w *Watcher) BudgetsOf(pod *corev1.Pod) []*policyv1.PodDisruptionBudget {
	return indexed(w, KindBudget, cache.NamespaceIndex, pod.Namespace, func(b *policyv1.PodDisruptionBudget) bool {
		return BudgetSelector(b).Matches(labels.Set(pod.Labels))
	})
}

// PodsOf returns the pods that the selector of pdb matches.
func (w *Watcher) PodsOf(pdb *policyv1.PodDisruptionBudget) []*corev1.Pod {
	selector := BudgetSelector(pdb)
	return indexed(w, KindPod, cache.NamespaceIndex, pdb.Namespace, func(p *corev1.Pod) bool {
		return selector.Matches(labels.Set(p.Labels))
	})
}

// Attachments returns the volume attachments of a node.
func (w *Watcher) Attachments(node string) []*storagev1.VolumeAttachment {
	return indexed[storagev1.VolumeAttachment](w, KindAttachment, indexNode, node, nil)
}

// ClaimVolume returns the name of the persistent volume that a claim is bound
// to, or "". If claims may not be read, the volume that names the claim is taken.
func (w *Watcher) ClaimVolume(namespace, claim string) string {
	if c := get[corev1.PersistentVolumeClaim](w, KindClaim, namespace, claim); c != nil {
		return c.Spec.VolumeName
	}
	if w.Reads(KindClaim) {
		return ""
	}
	for _, pv := range indexed[corev1.PersistentVolume](w, KindVolume, indexClaim, namespace+"/"+claim, nil) {
		return pv.Name
	}
	return ""
}

// Controllers returns the chain of controllers of pod, nearest first, as in
// Pod.Controllers, but without their Pods.
func (w *Watcher) Controllers(pod *corev1.Pod) []*Workload {
	ref := controllerRef(pod)
	if ref == nil {
		return nil
	}
	return w.above(referredWorkload(pod.Namespace, ref))
}

// above returns next and what controls it, nearest first.
func (w *Watcher) above(next *Workload) []*Workload {
	var chain []*Workload
	for ; next != nil; next = next.Controller {
		if known := w.workload(next.UID); known != nil {
			next = known
		}
		if slices.ContainsFunc(chain, func(c *Workload) bool { return c.UID == next.UID }) {
			break
		}
		if len(chain) > 0 {
			chain[len(chain)-1].Controller = next
		}
		chain = append(chain, next)
	}
	return chain
}

// workload returns a workload that was read, without its Pods; or nil.
func (w *Watcher) workload(uid types.UID) *Workload {
	for _, x := range w.watched {
		if x.kind != KindWorkload {
			continue
		}
		objs, _ := x.informer.GetIndexer().ByIndex(indexUID, string(uid))
		for _, obj := range objs {
			return workloadOf(obj)
		}
	}
	return nil
}
