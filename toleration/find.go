// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package toleration

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
)

// Target is a workload whose pod template may be changed.
type Target struct {
	Kind string
	metav1.ObjectMeta
	Tolerations []corev1.Toleration
	// replicas are the pods wanted; 0 where there is no such number.
	replicas int32
	object   runtime.Object
}

// Object names the target.
func (t *Target) Object() cluster.Object {
	return cluster.Object{Kind: t.Kind, Namespace: t.Namespace, Name: t.Name}
}

// Name is one workload as it is named on the command line: deployment/web.
type Name struct{ Kind, Name string }

// kinds maps the words for a kind, as kubectl takes them, to the kind.
func kinds() map[string]string {
	words := map[string]string{
		"deploy": "Deployment", "sts": "StatefulSet", "ds": "DaemonSet", "rs": "ReplicaSet", "rc": "ReplicationController", "cj": "CronJob", "po": "Pod",
	}
	for _, kind := range slices.Collect(maps.Values(words)) {
		words[strings.ToLower(kind)], words[strings.ToLower(kind)+"s"] = kind, kind
	}
	words["job"], words["jobs"] = "Job", "Job"
	return words
}

// ParseName reads KIND/NAME: the kind as kubectl takes it, with or without its API
// group.
func ParseName(text string) (Name, error) {
	kind, name, ok := strings.Cut(text, "/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return Name{}, fmt.Errorf("%q: want KIND/NAME, such as deployment/web", text)
	}
	word, _, _ := strings.Cut(strings.ToLower(kind), ".")
	known := kinds()[word]
	if known == "" {
		return Name{}, fmt.Errorf("%q: %q is no kind of workload; want one of Deployment, StatefulSet, ReplicaSet, ReplicationController, CronJob, Pod", text, kind)
	}
	return Name{Kind: known, Name: name}, nil
}

// Get reads the workloads of those names. One that does not exist is an error.
func Get(ctx context.Context, client kubernetes.Interface, namespace string, names []Name) ([]*Target, error) {
	var targets []*Target
	for _, n := range names {
		t, err := get(ctx, client, namespace, n)
		if apierrors.IsNotFound(err) {
			return nil, &NotFoundError{cluster.Object{Kind: n.Kind, Namespace: namespace, Name: n.Name}}
		}
		if err != nil {
			return nil, cluster.Explain(err, n.Kind+" "+namespace+"/"+n.Name)
		}
		if !slices.ContainsFunc(targets, func(other *Target) bool { return other.UID == t.UID }) {
			targets = append(targets, t)
		}
	}
	return sorted(targets), nil
}

// NotFoundError says that a workload does not exist.
type NotFoundError struct{ Object cluster.Object }

func (e *NotFoundError) Error() string { return fmt.Sprintf("there is no %s", e.Object) }

func get(ctx context.Context, client kubernetes.Interface, namespace string, n Name) (*Target, error) {
	var obj runtime.Object
	var err error
	o := metav1.GetOptions{}
	switch n.Kind {
	case "Deployment":
		obj, err = client.AppsV1().Deployments(namespace).Get(ctx, n.Name, o)
	case "StatefulSet":
		obj, err = client.AppsV1().StatefulSets(namespace).Get(ctx, n.Name, o)
	case "DaemonSet":
		obj, err = client.AppsV1().DaemonSets(namespace).Get(ctx, n.Name, o)
	case "ReplicaSet":
		obj, err = client.AppsV1().ReplicaSets(namespace).Get(ctx, n.Name, o)
	case "ReplicationController":
		obj, err = client.CoreV1().ReplicationControllers(namespace).Get(ctx, n.Name, o)
	case "CronJob":
		obj, err = client.BatchV1().CronJobs(namespace).Get(ctx, n.Name, o)
	case "Job":
		obj, err = client.BatchV1().Jobs(namespace).Get(ctx, n.Name, o)
	default:
		obj, err = client.CoreV1().Pods(namespace).Get(ctx, n.Name, o)
	}
	if err != nil {
		return nil, err
	}
	return target(obj), nil
}

// List reads the workloads of a namespace ("" is all of them) whose labels match,
// without those that another one of them has made. Single pods are left out: their
// kind has to be named.
func List(ctx context.Context, client kubernetes.Interface, namespace string, selector labels.Selector) ([]*Target, error) {
	o := metav1.ListOptions{}
	if selector != nil {
		o.LabelSelector = selector.String()
	}
	var targets []*Target
	for _, l := range []struct {
		what string
		list func() (runtime.Object, error)
	}{
		{"deployments", func() (runtime.Object, error) { return client.AppsV1().Deployments(namespace).List(ctx, o) }},
		{"statefulsets", func() (runtime.Object, error) { return client.AppsV1().StatefulSets(namespace).List(ctx, o) }},
		{"daemonsets", func() (runtime.Object, error) { return client.AppsV1().DaemonSets(namespace).List(ctx, o) }},
		{"replicasets", func() (runtime.Object, error) { return client.AppsV1().ReplicaSets(namespace).List(ctx, o) }},
		{"replicationcontrollers", func() (runtime.Object, error) {
			return client.CoreV1().ReplicationControllers(namespace).List(ctx, o)
		}},
		{"cronjobs", func() (runtime.Object, error) { return client.BatchV1().CronJobs(namespace).List(ctx, o) }},
		{"jobs", func() (runtime.Object, error) { return client.BatchV1().Jobs(namespace).List(ctx, o) }},
	} {
		list, err := l.list()
		if err != nil {
			return nil, cluster.Explain(err, l.what)
		}
		err = meta.EachListItem(list, func(obj runtime.Object) error {
			if t := target(obj); madeBy(t) == nil {
				targets = append(targets, t)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", l.what, err)
		}
	}
	return sorted(targets), nil
}

// CronJobs reads all CronJobs of the cluster, sorted, for Survey.
func CronJobs(ctx context.Context, client kubernetes.Interface) ([]*Target, error) {
	list, err := client.BatchV1().CronJobs(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, cluster.Explain(err, "cronjobs")
	}
	targets := make([]*Target, len(list.Items))
	for i := range list.Items {
		targets[i] = target(&list.Items[i])
	}
	return sorted(targets), nil
}

func sorted(targets []*Target) []*Target {
	slices.SortFunc(targets, func(a, b *Target) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return targets
}

// madeBy is the reference to the workload of the built-in kinds that controls t, as
// a Deployment does its ReplicaSets; nil if there is none. What is changed is that one.
func madeBy(t *Target) *metav1.OwnerReference {
	ref := metav1.GetControllerOfNoCopy(t)
	builtIn := []string{"v1", appsv1.SchemeGroupVersion.String(), batchv1.SchemeGroupVersion.String()}
	if ref == nil || !slices.Contains(builtIn, ref.APIVersion) || ref.Kind == "Node" {
		return nil
	}
	return ref
}

// target makes a Target of an object of one of the kinds.
func target(obj runtime.Object) *Target {
	t := &Target{object: obj}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		t.fill("Deployment", o.ObjectMeta, o.Spec.Template.Spec.Tolerations, ptr.Deref(o.Spec.Replicas, 1))
	case *appsv1.StatefulSet:
		t.fill("StatefulSet", o.ObjectMeta, o.Spec.Template.Spec.Tolerations, ptr.Deref(o.Spec.Replicas, 1))
	case *appsv1.DaemonSet:
		t.fill("DaemonSet", o.ObjectMeta, o.Spec.Template.Spec.Tolerations, 0)
	case *appsv1.ReplicaSet:
		t.fill("ReplicaSet", o.ObjectMeta, o.Spec.Template.Spec.Tolerations, ptr.Deref(o.Spec.Replicas, 1))
	case *corev1.ReplicationController:
		t.fill("ReplicationController", o.ObjectMeta, nil, ptr.Deref(o.Spec.Replicas, 1))
		if o.Spec.Template != nil {
			t.Tolerations = o.Spec.Template.Spec.Tolerations
		}
	case *batchv1.CronJob:
		t.fill("CronJob", o.ObjectMeta, o.Spec.JobTemplate.Spec.Template.Spec.Tolerations, 0)
	case *batchv1.Job:
		t.fill("Job", o.ObjectMeta, o.Spec.Template.Spec.Tolerations, 0)
	case *corev1.Pod:
		t.fill("Pod", o.ObjectMeta, o.Spec.Tolerations, 1)
	}
	return t
}

func (t *Target) fill(kind string, meta metav1.ObjectMeta, tolerations []corev1.Toleration, replicas int32) {
	t.Kind, t.ObjectMeta, t.Tolerations, t.replicas = kind, meta, tolerations, replicas
}
