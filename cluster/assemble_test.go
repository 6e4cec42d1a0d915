// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// shopManifests is a cluster with one of everything.
const shopManifests = `
apiVersion: v1
kind: Node
metadata: {name: node-2}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 1000
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}
status: {readyReplicas: 1}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: web-1
  namespace: shop
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: "", controller: true}]
spec: {replicas: 2, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-1-b
  namespace: shop
  labels: {app: web}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: "", controller: true}]
spec:
  nodeName: node-1
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: web-1-a
  namespace: shop
  labels: {app: web, canary: "yes"}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: "", controller: true}]
spec:
  nodeName: node-2
  volumes: [{name: scratch, ephemeral: {volumeClaimTemplate: {spec: {}}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: shop}
spec: {nodeName: gone}
---
apiVersion: v1
kind: Pod
metadata:
  name: static-node-1
  namespace: kube-system
  ownerReferences: [{apiVersion: v1, kind: Node, name: node-1, uid: "", controller: true}]
spec: {nodeName: node-1}
---
apiVersion: v1
kind: Pod
metadata:
  name: custom
  namespace: shop
  ownerReferences: [{apiVersion: example.com/v1, kind: Database, name: db, uid: "", controller: true}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: shop}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: all, namespace: shop}
spec: {maxUnavailable: 1, selector: {}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: none, namespace: shop}
spec: {maxUnavailable: 1}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: elsewhere, namespace: default}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: invalid, namespace: shop}
spec: {maxUnavailable: 1, selector: {matchExpressions: [{key: app, operator: Nonsense}]}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-data}
spec: {claimRef: {namespace: shop, name: data}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-scratch}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-old}
spec: {claimRef: {namespace: shop, name: web-1-a-scratch}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: web-1-a-scratch, namespace: shop}
spec: {volumeName: pv-scratch}
---
apiVersion: storage.k8s.io/v1
kind: VolumeAttachment
metadata: {name: att-1}
spec: {attacher: x, nodeName: node-1, source: {persistentVolumeName: pv-data}}
---
apiVersion: v1
kind: Service
metadata: {name: guard, namespace: shop}
spec: {selector: {app: web}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: guard}
webhooks:
- name: a.guard.example
  clientConfig: {service: {namespace: shop, name: guard}}
  namespaceSelector: {matchLabels: {team: a}}
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: guard}
webhooks:
- name: b.guard.example
  failurePolicy: Ignore
  clientConfig: {url: "https://example.com"}
`

const shopDrawing = `node node-1: kube-system/static-node-1 shop/web-1-b
node node-2: shop/web-1-a
pod kube-system/static-node-1 on node-1
pod shop/bare: budgets all
pod shop/custom: controllers Database/db; budgets all
pod shop/web-1-a on node-2: controllers ReplicaSet/web-1 Deployment/web; budgets all web; volumes pv-scratch
pod shop/web-1-b on node-1: controllers ReplicaSet/web-1 Deployment/web; budgets all web; volumes pv-data
budget default/elsewhere:
budget shop/all: shop/bare shop/custom shop/web-1-a shop/web-1-b
budget shop/invalid:
budget shop/none:
budget shop/web: shop/web-1-a shop/web-1-b
workload Database shop/db found=false -1/-1: shop/custom
workload Deployment shop/web found=true 1/1: shop/web-1-a shop/web-1-b
workload ReplicaSet shop/web-1 found=true 0/2: shop/web-1-a shop/web-1-b
volume pv-data attached to node-1
volume pv-old
volume pv-scratch claim shop/web-1-a-scratch
webhook guard a.guard.example mutating=false Fail service shop/guard: shop/web-1-a shop/web-1-b
webhook guard b.guard.example mutating=true Ignore service /:
namespace shop team=a
priority high 1000
`

// draw shows how a snapshot is tied together.
func draw(s *Snapshot) string {
	var b strings.Builder
	names := func(pods []*Pod) string {
		var out strings.Builder
		for _, p := range pods {
			out.WriteString(" " + p.Namespace + "/" + p.Name)
		}
		return out.String()
	}
	for _, n := range s.Nodes {
		fmt.Fprintf(&b, "node %s:%s\n", n.Name, names(n.Pods))
	}
	for _, p := range s.Pods {
		fmt.Fprintf(&b, "pod %s/%s", p.Namespace, p.Name)
		if p.Host != nil {
			fmt.Fprintf(&b, " on %s", p.Host.Name)
		}
		var parts []string
		if len(p.Controllers) > 0 {
			text := "controllers"
			for _, w := range p.Controllers {
				text += " " + w.Kind + "/" + w.Name
			}
			parts = append(parts, text)
		}
		if len(p.Budgets) > 0 {
			text := "budgets"
			for _, x := range p.Budgets {
				text += " " + x.Name
			}
			parts = append(parts, text)
		}
		if len(p.Volumes) > 0 {
			text := "volumes"
			for _, v := range p.Volumes {
				text += " " + v.Name
			}
			parts = append(parts, text)
		}
		if len(parts) > 0 {
			fmt.Fprintf(&b, ": %s", strings.Join(parts, "; "))
		}
		b.WriteString("\n")
	}
	for _, x := range s.Budgets {
		fmt.Fprintf(&b, "budget %s/%s:%s\n", x.Namespace, x.Name, names(x.Pods))
	}
	for _, w := range s.Workloads {
		fmt.Fprintf(&b, "workload %s %s/%s found=%v %d/%d:%s\n", w.Kind, w.Namespace, w.Name, w.Found, w.Ready, w.Desired, names(w.Pods))
	}
	for _, v := range s.Volumes {
		fmt.Fprintf(&b, "volume %s", v.Name)
		if v.Claim != nil {
			fmt.Fprintf(&b, " claim %s/%s", v.Claim.Namespace, v.Claim.Name)
		}
		for _, a := range v.Attachments {
			fmt.Fprintf(&b, " attached to %s", a.Spec.NodeName)
		}
		b.WriteString("\n")
	}
	for _, h := range s.Webhooks {
		fmt.Fprintf(&b, "webhook %s %s mutating=%v %s service %s:%s\n", h.Configuration, h.Name, h.Mutating, h.FailurePolicy, h.Service, names(h.Backends))
	}
	for _, name := range sortedKeys(s.Namespaces) {
		fmt.Fprintf(&b, "namespace %s %s\n", name, s.Namespaces[name])
	}
	for _, name := range sortedKeys(s.PriorityClasses) {
		fmt.Fprintf(&b, "priority %s %d\n", name, s.PriorityClasses[name])
	}
	return b.String()
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	var keys []K
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// withUIDs returns copies of objs with the UIDs that FromObjects would give them.
func withUIDs(t *testing.T, objs []runtime.Object) []runtime.Object {
	t.Helper()
	var out []runtime.Object
	for _, obj := range objs {
		obj = obj.DeepCopyObject()
		m, err := meta.Accessor(obj)
		if err != nil {
			t.Fatal(err)
		}
		m.SetUID(plainUID(kindOf(obj), m.GetNamespace(), m.GetName()))
		owners := m.GetOwnerReferences()
		for i := range owners {
			owners[i].UID = plainUID(owners[i].Kind, m.GetNamespace(), owners[i].Name)
		}
		m.SetOwnerReferences(owners)
		out = append(out, obj)
	}
	return out
}

func TestSnapshotTiesObjectsTogether(t *testing.T) {
	s, err := FromManifests(time.Time{}, strings.NewReader(shopManifests))
	if err != nil {
		t.Fatal(err)
	}
	if got := draw(s); got != shopDrawing {
		t.Errorf("got:\n%s\nwant:\n%s", got, shopDrawing)
	}
	if s.Node("node-1") != s.Nodes[0] || s.Node("gone") != nil || s.Pod("shop", "bare") == nil || s.PodByUID("Pod/shop/bare") != s.Pod("shop", "bare") {
		t.Error("lookups do not find what is there")
	}
	if top := s.Pod("shop", "web-1-a").Controllers[0].Top(); top.Kind != "Deployment" {
		t.Errorf("top controller %v", top.Object())
	}
}

func TestControllersThatControlEachOther(t *testing.T) {
	owned := func(name, by string) metav1.ObjectMeta {
		yes := true
		return metav1.ObjectMeta{Namespace: "x", Name: name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ReplicationController", Name: by, Controller: &yes}}}
	}
	s, err := FromObjects(time.Time{},
		&corev1.ReplicationController{ObjectMeta: owned("a", "b")},
		&corev1.ReplicationController{ObjectMeta: owned("b", "a")},
		&corev1.Pod{ObjectMeta: owned("p", "a")})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(s.Pods[0].Controllers); got != 2 {
		t.Errorf("%d controllers, want the two", got)
	}
	s.Workloads[0].Top() // ends
}

func TestManifestsThatASnapshotCannotHold(t *testing.T) {
	for name, text := range map[string]string{
		"a kind with no place":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}",
		"an unknown kind":       "apiVersion: example.com/v1\nkind: Thing",
		"not YAML":              "{",
		"in a list":             "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Secret}]",
		"an unreadable in list": "apiVersion: v1\nkind: List\nitems: [{apiVersion: example.com/v1, kind: Thing}]",
	} {
		if _, err := FromManifests(time.Time{}, strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, obj := range []runtime.Object{nil, (*corev1.Pod)(nil), &metav1.Status{}} {
		if _, err := FromObjects(time.Time{}, obj); err == nil {
			t.Errorf("%T: no error", obj)
		}
	}
	s, err := FromManifests(time.Time{}, strings.NewReader("# nothing\n---\n\n---\napiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Node, metadata: {name: x}}]"))
	if err != nil || len(s.Nodes) != 1 {
		t.Errorf("nodes %v, error %v", s, err)
	}
}
