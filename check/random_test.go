// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"refit.dev/refit/check"
	"refit.dev/refit/cluster"
)

// words are the only strings in the random objects: few, so that they refer to
// each other, and some that mean something.
var words = []string{
	"", "a", "b", "shop", "kube-system", "app", "*", "pods", "pods/eviction", "nodes", "CREATE", "Fail", "v1", "apps/v1",
	"Node", "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Ready", "True", "False", "Running", "Succeeded", "Pending",
	"In", "NotIn", "Exists", "DoNotSchedule", "NoSchedule", "kube-apiserver", "x:v1.37.2", "v1.36.0", "50%", "CrashLoopBackOff",
	corev1.MirrorPodAnnotationKey, "refit.dev/cordon", `{"run":"a"}`, "zone",
}

func anything[T any](types map[reflect.Type]*rapid.Generator[any]) *rapid.Generator[T] {
	return rapid.MakeCustom[T](rapid.MakeConfig{
		Kinds: map[reflect.Kind]*rapid.Generator[any]{
			reflect.String: rapid.SampledFrom(words).AsAny(),
			reflect.Int32:  rapid.Int32Range(-2, 5).AsAny(),
		},
		Types: types,
	})
}

// generators make objects of every kind that a snapshot takes. What the checks
// do not read is left out, or one pod would be as long as a novel.
func generators() []*rapid.Generator[runtime.Object] {
	types := map[reflect.Type]*rapid.Generator[any]{}
	set := func(v any, g *rapid.Generator[any]) { types[reflect.TypeOf(v)] = g }
	set(metav1.Time{}, rapid.Map(rapid.Int64Range(-9000, 9000), func(s int64) any {
		if s > 8000 {
			return metav1.Time{}
		}
		return metav1.NewTime(now.Add(time.Duration(s) * time.Second))
	}))
	set(resource.Quantity{}, rapid.Map(rapid.Int64Range(-1, 8), func(n int64) any { return *resource.NewQuantity(n, resource.DecimalSI) }))
	set(intstr.IntOrString{}, rapid.Custom(func(t *rapid.T) any {
		return intstr.IntOrString{Type: intstr.Type(rapid.IntRange(0, 2).Draw(t, "type")), IntVal: rapid.Int32Range(-1, 5).Draw(t, "int"),
			StrVal: rapid.SampledFrom([]string{"50%", "0%", "100%", "x", ""}).Draw(t, "str")}
	}))
	set(metav1.ObjectMeta{}, rapid.Map(anything[meta](types), func(m meta) any {
		return metav1.ObjectMeta{Namespace: pick(m.Namespace, "shop", "kube-system"), Name: pick(m.Name, "a", "b", "c"), Labels: m.Labels,
			Annotations: m.Annotations, OwnerReferences: m.OwnerReferences, Finalizers: m.Finalizers, DeletionTimestamp: m.DeletionTimestamp, Generation: m.Generation}
	}))
	set(map[string]string{}, rapid.Custom(func(t *rapid.T) any {
		return rapid.SampledFrom([]map[string]string{nil, {}, {"app": "a"}, {"app": "b", "zone": "a"}, {"": "a"}}).Draw(t, "labels")
	}))
	set(metav1.OwnerReference{}, rapid.Map(rapid.IntRange(0, 30), func(n int) any {
		kind := []string{"StatefulSet", "ReplicaSet", "Deployment", "DaemonSet", "Node", "Thing"}[n%6]
		return metav1.OwnerReference{APIVersion: []string{"apps/v1", "v1"}[n/6%2], Kind: kind, Name: []string{"a", "b"}[n%2], Controller: []*bool{nil, ptr.To(true), ptr.To(true), ptr.To(false)}[n%4]}
	}))
	set(metav1.LabelSelector{}, rapid.SampledFrom([]any{
		metav1.LabelSelector{}, metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}},
		metav1.LabelSelector{MatchLabels: map[string]string{"app": "b"}},
		metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Nonsense"}}},
	}))
	set(admissionv1.RuleWithOperations{}, rapid.Custom(func(t *rapid.T) any {
		r := admissionv1.RuleWithOperations{Operations: []admissionv1.OperationType{"*"}}
		r.APIGroups, r.APIVersions, r.Resources = []string{"*"}, []string{"v1"}, rapid.SliceOf(rapid.SampledFrom([]string{"*", "pods/*", "pods", "nodes", "", "/"})).Draw(t, "resources")
		return r
	}))
	set(corev1.PodCondition{}, rapid.Custom(func(t *rapid.T) any {
		return corev1.PodCondition{Type: rapid.SampledFrom([]corev1.PodConditionType{"Ready", "PodScheduled", ""}).Draw(t, "type"),
			Status: rapid.SampledFrom([]corev1.ConditionStatus{"True", "False", ""}).Draw(t, "status")}
	}))
	set(corev1.VolumeSource{}, rapid.SampledFrom([]any{
		corev1.VolumeSource{}, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}},
		corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "a"}},
	}))
	set(corev1.Container{}, rapid.Map(anything[struct {
		Name, Image   string
		Ports         []corev1.ContainerPort
		Requests      corev1.ResourceList
		RestartPolicy *corev1.ContainerRestartPolicy
	}](types), func(c struct {
		Name, Image   string
		Ports         []corev1.ContainerPort
		Requests      corev1.ResourceList
		RestartPolicy *corev1.ContainerRestartPolicy
	},
	) any {
		return corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports, RestartPolicy: c.RestartPolicy,
			Resources: corev1.ResourceRequirements{Requests: c.Requests}}
	}))
	set(corev1.PodSpec{}, rapid.Map(anything[podSpec](types), func(s podSpec) any {
		return corev1.PodSpec{NodeName: pick(s.NodeName, "a", "b", "c"), NodeSelector: s.NodeSelector, Affinity: s.Affinity, Tolerations: s.Tolerations, Containers: s.Containers,
			InitContainers: s.InitContainers, Volumes: s.Volumes, TopologySpreadConstraints: s.TopologySpreadConstraints, Overhead: s.Overhead}
	}))
	set(corev1.PersistentVolumeSource{}, rapid.Just[any](corev1.PersistentVolumeSource{}))
	set(storagev1.VolumeAttachmentSource{}, rapid.Map(rapid.SampledFrom(words), func(s string) any {
		return storagev1.VolumeAttachmentSource{PersistentVolumeName: &s}
	}))
	return []*rapid.Generator[runtime.Object]{
		object[corev1.Node](types), object[corev1.Pod](types), object[corev1.Pod](types), object[corev1.Pod](types),
		object[policyv1.PodDisruptionBudget](types), object[policyv1.PodDisruptionBudget](types),
		object[appsv1.Deployment](types), object[appsv1.ReplicaSet](types), object[appsv1.StatefulSet](types), object[appsv1.DaemonSet](types),
		object[batchv1.Job](types), object[corev1.ReplicationController](types),
		object[corev1.PersistentVolume](types), object[corev1.PersistentVolumeClaim](types), object[storagev1.VolumeAttachment](types),
		object[admissionv1.ValidatingWebhookConfiguration](types), object[admissionv1.MutatingWebhookConfiguration](types),
		object[corev1.Service](types), object[corev1.Namespace](types),
	}
}

// meta are the fields of an ObjectMeta that are read. There is no UID: FromObjects
// makes them of the names, so that owner references find their objects.
type meta struct {
	Namespace, Name     string
	Labels, Annotations map[string]string
	OwnerReferences     []metav1.OwnerReference
	Finalizers          []string
	DeletionTimestamp   *metav1.Time
	Generation          int64
}

// pick replaces any word by one of a few.
func pick(word string, from ...string) string { return from[len(word)%len(from)] }

// podSpec are the fields of a PodSpec that are read.
type podSpec struct {
	NodeName                  string
	NodeSelector              map[string]string
	Affinity                  *corev1.Affinity
	Tolerations               []corev1.Toleration
	Containers                []corev1.Container
	InitContainers            []corev1.Container
	Volumes                   []corev1.Volume
	TopologySpreadConstraints []corev1.TopologySpreadConstraint
	Overhead                  corev1.ResourceList
}

func object[T any, P interface {
	*T
	runtime.Object
}](types map[reflect.Type]*rapid.Generator[any],
) *rapid.Generator[runtime.Object] {
	return rapid.Map(anything[T](types), func(v T) runtime.Object { return P(&v) })
}

// TestAnyClusterIsChecked: whatever the objects look like, Run ends, says the same
// twice, sorted, in codes that are documented, and changes nothing.
func TestAnyClusterIsChecked(t *testing.T) {
	codes := map[string]cluster.Severity{}
	for _, c := range check.Codes() {
		codes[c.Name] = c.Severity
	}
	kinds := generators()
	rapid.Check(t, func(t *rapid.T) {
		objs := rapid.SliceOfN(rapid.OneOf(kinds...), 0, 25).Draw(t, "objects")
		s, err := cluster.FromObjects(now, objs...)
		if err != nil {
			t.Fatal(err)
		}
		s.Server = rapid.SampledFrom([]string{"", "v1.37.2", "nonsense"}).Draw(t, "server")
		before := fmt.Sprintf("%+v", describe(s))
		first, second := check.Run(s), check.Run(s)
		if !slices.Equal(first, second) {
			t.Fatalf("first %v, then %v", first, second)
		}
		if after := fmt.Sprintf("%+v", describe(s)); before != after {
			t.Fatalf("the snapshot changed from\n%s to\n%s", before, after)
		}
		sorted := slices.Clone(first)
		cluster.SortFindings(sorted)
		if !slices.Equal(first, sorted) {
			t.Fatal("not sorted")
		}
		for _, f := range first {
			if severity, known := codes[f.Code]; !known || severity != f.Severity || f.Message == "" || f.Hint == "" {
				t.Fatalf("finding %+v", f)
			}
		}
	})
}

// describe prints the API objects of a snapshot, without its pointers.
func describe(s *cluster.Snapshot) (all []string) {
	for _, n := range s.Nodes {
		all = append(all, n.Node.String())
	}
	for _, p := range s.Pods {
		all = append(all, p.Pod.String())
	}
	for _, b := range s.Budgets {
		all = append(all, b.PodDisruptionBudget.String())
	}
	return all
}
