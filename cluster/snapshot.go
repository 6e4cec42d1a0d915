// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// Snapshot is a cluster at one moment. It is immutable once made: whoever holds
// one may read it from any goroutine and must not change what it points to.
// Every slice is sorted: nodes by name, everything else by namespace and name.
type Snapshot struct {
	// Time is when the snapshot was taken, by the clock of the API server, to the second: it
	// may be compared with the times in objects, whatever this machine's clock says.
	Time time.Time
	// Server is what /version says: "v1.37.2", and the emulated "v1.36" if the
	// server emulates an older minor ("" otherwise).
	Server, Emulated string

	Nodes     []*Node
	Pods      []*Pod
	Budgets   []*Budget
	Workloads []*Workload
	Volumes   []*Volume
	Webhooks  []*Webhook

	// Namespaces maps a namespace's name to its labels.
	Namespaces map[string]labels.Set
	// PriorityClasses maps a class's name to its value.
	PriorityClasses map[string]int32

	// ResourceVersion is the one version at which everything was read; "" if
	// there is no such version, as in a snapshot taken from a Watcher.
	ResourceVersion string

	// Unread are the kinds of objects that could not be read, for want of
	// permission, and what is not known because of that; and that lists had to be
	// taken at different moments, if so. Nodes, pods, budgets and workloads
	// are never among the former: without those there is no snapshot.
	Unread []Finding

	nodes  map[string]*Node
	podUID map[types.UID]*Pod
}

// Node is a Node with the pods bound to it.
type Node struct {
	*corev1.Node
	Pods []*Pod
}

// Pod is a Pod with what stands around it.
type Pod struct {
	*corev1.Pod
	// Host is the node that the pod is bound to; nil while it is unscheduled or
	// when its node no longer exists.
	Host *Node
	// Controllers is the chain of controllers, nearest first (ReplicaSet,
	// Deployment); empty for a pod that nobody would replace.
	Controllers []*Workload
	// Budgets are those whose selector matches the pod. More than one means that
	// the Eviction API refuses the pod for ever.
	Budgets []*Budget
	// Volumes are the persistent volumes that the pod uses.
	Volumes []*Volume
}

// Budget is a PodDisruptionBudget with the pods that its selector matches.
type Budget struct {
	*policyv1.PodDisruptionBudget
	Pods []*Pod
}

// Workload is a controller of pods: a built-in kind, or one of which only the
// owner reference is known.
type Workload struct {
	Group, Kind     string
	Namespace, Name string
	UID             types.UID
	// Labels are the object's own; nil if it was not read.
	Labels labels.Set
	// Found tells whether the object itself was read, or only a reference to it.
	Found bool
	// Deleting: it is being deleted, so that it makes no more pods.
	Deleting bool
	// Desired is how many replicas are wanted: spec.replicas, a DaemonSet's
	// desiredNumberScheduled, a Job's parallelism; -1 if unknown.
	Desired int32
	// FirstOrdinal is the number of a StatefulSet's first pod.
	FirstOrdinal int32
	// Ready is how many the controller's status counts as ready; -1 if unknown.
	Ready int32
	// PodLabels and PodSpec are the template's; nil if unknown.
	PodLabels labels.Set
	PodSpec   *corev1.PodSpec
	// Rollout is how a Deployment replaces its pods; nil for what is none.
	Rollout *Rollout
	// Attempts is how often a Job tries; nil for what is none.
	Attempts *Attempts
	// Controller is the workload's own controller, if it has one.
	Controller *Workload
	// Pods are those that the workload controls, directly or through another
	// workload, terminating ones included.
	Pods []*Pod
}

// Volume is a PersistentVolume with the claim bound to it and where it is attached.
type Volume struct {
	*corev1.PersistentVolume
	// Claim is nil for a volume that no claim has.
	Claim *corev1.PersistentVolumeClaim
	// Attachments are the VolumeAttachments of the volume, one for each node.
	Attachments []*storagev1.VolumeAttachment
}

// Webhook is one admission webhook of a ValidatingWebhookConfiguration or a
// MutatingWebhookConfiguration, in the form that both share.
type Webhook struct {
	Configuration string // name of the object
	Mutating      bool
	Name          string
	FailurePolicy admissionv1.FailurePolicyType
	Rules         []admissionv1.RuleWithOperations
	Namespaces    labels.Selector // never nil
	Objects       labels.Selector // never nil
	// Conditions are CEL expressions that narrow the rules further; they are not evaluated here.
	Conditions []admissionv1.MatchCondition
	// Service is the Service behind the webhook; empty for a URL.
	Service types.NamespacedName
	// ServiceFound tells whether the Service was read, ServiceSelects whether it
	// has a selector: one without it may lead anywhere.
	ServiceFound, ServiceSelects bool
	// Backends are the pods that the Service selects, sorted.
	Backends []*Pod
}

// Node returns the node of that name, or nil.
func (s *Snapshot) Node(name string) *Node { return s.nodes[name] }

// Pod returns the pod of that name, or nil.
func (s *Snapshot) Pod(namespace, name string) *Pod {
	i, found := slices.BinarySearchFunc(s.Pods, [2]string{namespace, name}, func(p *Pod, key [2]string) int {
		return cmp.Or(cmp.Compare(p.Namespace, key[0]), cmp.Compare(p.Name, key[1]))
	})
	if !found {
		return nil
	}
	return s.Pods[i]
}

// PodByUID returns the pod of that identity, or nil.
func (s *Snapshot) PodByUID(uid types.UID) *Pod { return s.podUID[uid] }
