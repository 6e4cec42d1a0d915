// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

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

	"refit.dev/refit/cluster"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// town makes a cluster out of lines such as
//
//	node a zone=east region=eu old-zone=x cpu=4 [ready=Unknown since=SECONDS-AGO] [taint=KEY:SECONDS-AGO,KEY:?] [excluded]
//	deployment web on=a*2,b cpu=1 min=2
//	job batch on=a limit=0 failed=2 after-end ignore per-index=1 max-indexes=0 restart=Never
//	pod tool on=a tolerate=60
//	plane a grace=20s
//	budget all min=4 apps=web,batch
//
// Kinds of pods are deployment, statefulset, daemonset, job, replicator, pod, static, orphan (its
// ReplicaSet is gone) and custom. They may have: cpu, min (a budget), tolerate
// (seconds, forever, none, or keyless:SECONDS, two:NOT-READY/UNREACHABLE), also
// (KEY:SECONDS+KEY:forever: other taints that are tolerated), bound (seconds ago), claim (a
// volume: RWO or RWX), replicas (that are wanted), deleting (the workload), paused, managed-by, local (a volume that is tied to the node), finalizer, grace,
// phase, deleted (seconds ago), unready, silenced (unready because of its node), pin (the
// node that it has to be on), apart (the app that it must not share a zone with), first (ordinal).
type town struct {
	tb      testing.TB
	objects []runtime.Object
	server  string
}

func build(tb testing.TB, text string) *cluster.Snapshot {
	tb.Helper()
	t := &town{tb: tb, server: "v1.37.2"}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		options := map[string]string{}
		for _, word := range words[2:] {
			name, value, _ := strings.Cut(word, "=")
			options[name] = value
		}
		switch words[0] {
		case "server":
			t.server = words[1]
		case "node":
			t.node(words[1], options)
		case "plane":
			t.plane(words[1], options)
		case "budget":
			t.budget(words[1], options["min"], strings.Split(options["apps"], ","))
		default:
			t.workload(words[0], words[1], options)
		}
	}
	s, err := cluster.FromObjects(noon, t.objects...)
	if err != nil {
		tb.Fatal(err)
	}
	s.Server = t.server
	return s
}

// places reads a,b*3: a once, b three times.
func places(on string) (nodes []string) {
	for place := range strings.SplitSeq(on, ",") {
		node, times, _ := strings.Cut(place, "*")
		n, err := strconv.Atoi(times)
		if err != nil {
			n = 1
		}
		for range n {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

func has(o map[string]string, name string) bool { _, ok := o[name]; return ok }

func (t *town) number(text string) int {
	t.tb.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.tb.Fatal(err)
	}
	return n
}

func (t *town) node(name string, o map[string]string) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	if zone := o["zone"]; zone != "" {
		n.Labels[corev1.LabelTopologyZone] = zone
	}
	for option, label := range map[string]string{"region": corev1.LabelTopologyRegion, "old-zone": corev1.LabelFailureDomainBetaZone} {
		if has(o, option) {
			n.Labels[label] = o[option]
		}
	}
	if has(o, "excluded") {
		n.Labels["node.kubernetes.io/exclude-disruption"] = ""
	}
	if has(o, "cordoned") {
		n.Spec.Unschedulable = true
	}
	cpu := o["cpu"]
	if cpu == "" {
		cpu = "8"
	}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourcePods: resource.MustParse("110")}
	ready := corev1.ConditionStatus(o["ready"])
	if ready == "" {
		ready = corev1.ConditionTrue
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	if has(o, "since") {
		n.Status.Conditions[0].LastTransitionTime = metav1.NewTime(noon.Add(-time.Duration(t.number(o["since"])) * time.Second))
	}
	for taint := range strings.SplitSeq(o["taint"], ",") {
		if key, ago, ok := strings.Cut(taint, ":"); ok {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute})
			if ago != "?" {
				n.Spec.Taints[len(n.Spec.Taints)-1].TimeAdded = ptr.To(metav1.NewTime(noon.Add(-time.Duration(t.number(ago)) * time.Second)))
			}
		}
	}
	t.objects = append(t.objects, n)
}

// plane adds the static pods of a control plane.
func (t *town) plane(node string, o map[string]string) {
	flags := map[string][]string{}
	for name, value := range o {
		component := cluster.ControllerManager
		if strings.HasPrefix(name, "default-") || strings.HasSuffix(name, "admission-plugins") {
			component = cluster.APIServer
		}
		flags[component] = append(flags[component], "--"+name+"="+value)
	}
	for _, component := range []string{cluster.APIServer, cluster.ControllerManager, "kube-scheduler", "etcd"} {
		t.objects = append(t.objects, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: metav1.NamespaceSystem, Name: component + "-" + node, Labels: map[string]string{"component": component},
				Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"},
			},
			Spec:   corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: component, Command: append([]string{component}, flags[component]...)}}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning},
		})
	}
}

func (t *town) workload(kind, name string, o map[string]string) {
	nodes := places(o["on"])
	meta := metav1.ObjectMeta{Namespace: "shop", Name: name}
	template := corev1.PodTemplateSpec{Spec: t.spec(o)}
	count := ptr.To(int32(len(nodes))) //nolint:gosec // a handful
	if has(o, "replicas") {
		count = ptr.To(int32(t.number(o["replicas"]))) //nolint:gosec // a handful
	}
	if has(o, "deleting") {
		meta.DeletionTimestamp, meta.Finalizers = ptr.To(metav1.NewTime(noon)), []string{"foregroundDeletion"}
	}
	var owner *metav1.OwnerReference
	owned := func(group, kind, name string) {
		owner = &metav1.OwnerReference{APIVersion: group, Kind: kind, Name: name, Controller: ptr.To(true)}
	}
	switch kind {
	case "deployment":
		owned("apps/v1", "ReplicaSet", name+"-1")
		set := meta
		set.Name = name + "-1"
		set.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: name, Controller: ptr.To(true)}}
		t.objects = append(t.objects, &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: count, Template: template, Paused: has(o, "paused")}},
			&appsv1.ReplicaSet{ObjectMeta: set, Spec: appsv1.ReplicaSetSpec{Replicas: count, Template: template}})
	case "statefulset":
		owned("apps/v1", "StatefulSet", name)
		spec := appsv1.StatefulSetSpec{Replicas: count, Template: template}
		if has(o, "first") {
			spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: int32(t.number(o["first"]))} //nolint:gosec // a handful
		}
		t.objects = append(t.objects, &appsv1.StatefulSet{ObjectMeta: meta, Spec: spec})
	case "daemonset":
		owned("apps/v1", "DaemonSet", name)
		t.objects = append(t.objects, &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Template: template}})
	case "job":
		owned("batch/v1", "Job", name)
		t.objects = append(t.objects, t.job(meta, template, count, o))
	case "replicator":
		owned("v1", "ReplicationController", name)
		t.objects = append(t.objects, &corev1.ReplicationController{ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Replicas: count, Template: &template}})
	case "orphan":
		owned("apps/v1", "ReplicaSet", name)
	case "custom":
		owned("example.com/v1", "Cluster", name)
	}
	if minimum := o["min"]; minimum != "" {
		t.budget(name, minimum, []string{name})
	}
	for i, node := range nodes {
		t.pod(kind, fmt.Sprintf("%s-%d", name, i), name, node, owner, o)
	}
}

func (t *town) budget(name, minimum string, apps []string) {
	at := intstr.Parse(minimum)
	t.objects = append(t.objects, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: policyv1.PodDisruptionBudgetSpec{
		MinAvailable: &at, Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: apps}}},
	}})
}

func (t *town) job(meta metav1.ObjectMeta, template corev1.PodTemplateSpec, count *int32, o map[string]string) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: template, Parallelism: count}}
	if has(o, "limit") {
		j.Spec.BackoffLimit = ptr.To(int32(t.number(o["limit"]))) //nolint:gosec // a handful
	}
	if has(o, "failed") {
		j.Status.Failed = int32(t.number(o["failed"])) //nolint:gosec // a handful
	}
	if has(o, "per-index") {
		j.Spec.CompletionMode, j.Spec.Completions = ptr.To(batchv1.IndexedCompletion), count
		j.Spec.BackoffLimitPerIndex = ptr.To(int32(t.number(o["per-index"]))) //nolint:gosec // a handful
	}
	if by := o["managed-by"]; by != "" {
		j.Spec.ManagedBy = &by
	}
	if has(o, "completions") {
		j.Spec.Completions = ptr.To(int32(t.number(o["completions"]))) //nolint:gosec // a handful
	}
	if has(o, "max-indexes") {
		j.Spec.MaxFailedIndexes = ptr.To(int32(t.number(o["max-indexes"]))) //nolint:gosec // a handful
	}
	j.Status.CompletedIndexes = o["done"]
	if has(o, "after-end") {
		j.Spec.PodReplacementPolicy = ptr.To(batchv1.Failed)
	}
	var rules []batchv1.PodFailurePolicyRule // the first that matches decides, so their order is always the same
	for _, rule := range []struct {
		option string
		action batchv1.PodFailurePolicyAction
	}{{"ignore", batchv1.PodFailurePolicyActionIgnore}, {"fail-job", batchv1.PodFailurePolicyActionFailJob}, {"fail-index", batchv1.PodFailurePolicyActionFailIndex}} {
		if has(o, rule.option) {
			rules = append(rules, batchv1.PodFailurePolicyRule{
				Action:          rule.action,
				OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
			})
		}
	}
	if len(rules) > 0 {
		j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: rules}
	}
	return j
}

func (t *town) spec(o map[string]string) corev1.PodSpec {
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}, TerminationGracePeriodSeconds: ptr.To[int64](30), RestartPolicy: corev1.RestartPolicy(o["restart"])}
	if cpu := o["cpu"]; cpu != "" {
		spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
	if has(o, "grace") {
		spec.TerminationGracePeriodSeconds = ptr.To(int64(t.number(o["grace"])))
	}
	if pin := o["pin"]; pin != "" {
		spec.NodeSelector = map[string]string{corev1.LabelHostname: pin}
	}
	if has(o, "apart") {
		spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{TopologyKey: corev1.LabelTopologyZone, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": o["apart"]}}},
		}}}
	}
	if has(o, "claim") || has(o, "local") {
		spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "x"}}}}
	}
	tolerate := func(key string, seconds *int64) {
		spec.Tolerations = append(spec.Tolerations, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: seconds})
	}
	for other := range strings.SplitSeq(o["also"], "+") {
		if key, seconds, ok := strings.Cut(other, ":"); ok {
			tolerate(key, t.patience(seconds))
		}
	}
	notReady, unreachable := ptr.To[int64](300), ptr.To[int64](300)
	how, arg, _ := strings.Cut(o["tolerate"], ":")
	switch how {
	case "":
	case "forever":
		notReady, unreachable = nil, nil
	case "none":
		return spec
	case "keyless":
		spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists, TolerationSeconds: ptr.To(int64(t.number(arg)))}}
		return spec
	case "two":
		first, second, _ := strings.Cut(arg, "/")
		if first != "none" {
			tolerate(corev1.TaintNodeNotReady, t.patience(first))
		}
		if second != "none" {
			tolerate(corev1.TaintNodeUnreachable, t.patience(second))
		}
		return spec
	default:
		notReady, unreachable = ptr.To(int64(t.number(how))), ptr.To(int64(t.number(how)))
	}
	tolerate(corev1.TaintNodeNotReady, notReady)
	tolerate(corev1.TaintNodeUnreachable, unreachable)
	return spec
}

func (t *town) patience(text string) *int64 {
	if text == "forever" {
		return nil
	}
	return ptr.To(int64(t.number(text)))
}

func (t *town) pod(kind, name, app, node string, owner *metav1.OwnerReference, o map[string]string) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": app}, Annotations: map[string]string{}}, Spec: t.spec(o)}
	p.Spec.NodeName = node
	if owner != nil {
		p.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	if kind == "static" {
		p.Annotations[corev1.MirrorPodAnnotationKey] = "x"
	}
	if finalizer := o["finalizer"]; finalizer != "" {
		p.Finalizers = []string{finalizer}
	}
	if has(o, "deleted") {
		asked := noon
		if ago := o["deleted"]; ago != "" {
			asked = noon.Add(-time.Duration(t.number(ago)) * time.Second)
		}
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = ptr.To(metav1.NewTime(asked.Add(30*time.Second))), ptr.To[int64](30)
		p.Finalizers = append(p.Finalizers, batchv1.JobTrackingFinalizer)
	}
	p.Status.Phase = corev1.PodRunning
	if phase := o["phase"]; phase != "" {
		p.Status.Phase = corev1.PodPhase(phase)
	}
	ready := corev1.ConditionTrue
	if has(o, "unready") || has(o, "silenced") || p.Status.Phase != corev1.PodRunning {
		ready = corev1.ConditionFalse
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	if ready == corev1.ConditionFalse && !has(o, "silenced") {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse})
	}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	if has(o, "waits") {
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	}
	if has(o, "bound") {
		since := metav1.NewTime(noon.Add(-time.Duration(t.number(o["bound"])) * time.Second))
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: since})
	}
	if len(p.Spec.Volumes) > 0 {
		p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = name
		t.volume(name, node, o)
	}
	t.objects = append(t.objects, p)
}

func (t *town) volume(name, node string, o map[string]string) {
	mode := corev1.ReadWriteOnce
	if o["claim"] == "RWX" {
		mode = corev1.ReadWriteMany
	}
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-" + name}, Spec: corev1.PersistentVolumeSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{mode}, ClaimRef: &corev1.ObjectReference{Namespace: "shop", Name: name},
	}}
	if has(o, "local") {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
		}}}}
		t.objects = append(t.objects, v)
		return
	}
	t.objects = append(t.objects, v, &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "at-" + name}, Spec: storagev1.VolumeAttachmentSpec{
		NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &v.Name},
	}})
}
