// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
)

// plain is a pod without demands, with room for some.
func plain() *cluster.Pod {
	return &cluster.Pod{Pod: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "plain", Namespace: "shop", Labels: map[string]string{"app": "web", "hash": "1"}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "i"}}, Containers: []corev1.Container{{Name: "c", Image: "x:1"}},
			Tolerations: []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpExists, TolerationSeconds: ptr.To[int64](300)}},
			Affinity:    &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}, PodAffinity: &corev1.PodAffinity{}, PodAntiAffinity: &corev1.PodAntiAffinity{}},
		},
	}}
}

func amounts(name corev1.ResourceName, amount string) corev1.ResourceList {
	return corev1.ResourceList{name: resource.MustParse(amount)}
}

func spreadOver(change func(*corev1.TopologySpreadConstraint)) func(*cluster.Pod) {
	c := corev1.TopologySpreadConstraint{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{}}
	change(&c)
	return func(p *cluster.Pod) { p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{c} }
}

func volumeIn(zone string) *cluster.Volume {
	return &cluster.Volume{PersistentVolume: &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{NodeAffinity: &corev1.VolumeNodeAffinity{
		Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{zone}},
		}}}},
	}}}}
}

// TestClasses: whatever a filter looks at makes another class, and nothing else does.
func TestClasses(t *testing.T) {
	term := []corev1.PodAffinityTerm{{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
	otherTerm := []corev1.PodAffinityTerm{{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Namespaces: []string{"other"}}}
	everyTerm := []corev1.PodAffinityTerm{{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, NamespaceSelector: &metav1.LabelSelector{}}}
	disk := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpExists}}}}}
	port := corev1.ContainerPort{HostPort: 80, Protocol: corev1.ProtocolTCP}

	different := map[string]func(*cluster.Pod){
		"plain":                   func(*cluster.Pod) {},
		"namespace":               func(p *cluster.Pod) { p.Namespace = "other" },
		"label that is looked at": func(p *cluster.Pod) { p.Labels["app"] = "db" },
		"no such label":           func(p *cluster.Pod) { delete(p.Labels, "app") },
		"requests":                func(p *cluster.Pod) { p.Spec.Containers[0].Resources.Requests = amounts(corev1.ResourceCPU, "1") },
		"more requests":           func(p *cluster.Pod) { p.Spec.Containers[0].Resources.Requests = amounts(corev1.ResourceCPU, "1001m") },
		"requests of memory":      func(p *cluster.Pod) { p.Spec.Containers[0].Resources.Requests = amounts(corev1.ResourceMemory, "1") },
		"more than thousandths of it fit": func(p *cluster.Pod) {
			p.Spec.Containers[0].Resources.Requests = amounts(corev1.ResourceMemory, "16Pi")
		},
		"even more":      func(p *cluster.Pod) { p.Spec.Containers[0].Resources.Requests = amounts(corev1.ResourceMemory, "17Pi") },
		"two containers": func(p *cluster.Pod) { p.Spec.Containers = append(p.Spec.Containers, p.Spec.Containers[0]) },
		"init container": func(p *cluster.Pod) { p.Spec.InitContainers[0].Resources.Requests = amounts(corev1.ResourceCPU, "1") },
		"sidecar": func(p *cluster.Pod) {
			p.Spec.InitContainers[0].RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		},
		"requests of a pod": func(p *cluster.Pod) {
			p.Spec.Resources = &corev1.ResourceRequirements{Requests: amounts(corev1.ResourceCPU, "1")}
		},
		"overhead": func(p *cluster.Pod) { p.Spec.Overhead = amounts(corev1.ResourceCPU, "1") },
		"port":     func(p *cluster.Pod) { p.Spec.Containers[0].Ports = []corev1.ContainerPort{port} },
		"another port": func(p *cluster.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 81, Protocol: corev1.ProtocolTCP}}
		},
		"port of an address": func(p *cluster.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{port}
			p.Spec.Containers[0].Ports[0].HostIP = "1.1.1.1"
		},
		"port of a protocol": func(p *cluster.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80, Protocol: corev1.ProtocolUDP}}
		},
		"node name of the template": func(p *cluster.Pod) {
			p.Controllers = []*cluster.Workload{{PodSpec: &corev1.PodSpec{NodeName: "node-1"}}}
		},
		"node selector": func(p *cluster.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "fast"} },
		"node affinity": func(p *cluster.Pod) {
			p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = disk
		},
		"node affinity to nothing": func(p *cluster.Pod) {
			p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{}
		},
		"toleration":              func(p *cluster.Pod) { p.Spec.Tolerations[0].Key = "l" },
		"toleration of an effect": func(p *cluster.Pod) { p.Spec.Tolerations[0].Effect = corev1.TaintEffectNoSchedule },
		"toleration of a value":   func(p *cluster.Pod) { p.Spec.Tolerations[0].Value = "v" },
		"toleration of equals":    func(p *cluster.Pod) { p.Spec.Tolerations[0].Operator = corev1.TolerationOpEqual },
		"volume":                  func(p *cluster.Pod) { p.Volumes = []*cluster.Volume{volumeIn("a")} },
		"volume elsewhere":        func(p *cluster.Pod) { p.Volumes = []*cluster.Volume{volumeIn("b")} },
		"affinity": func(p *cluster.Pod) {
			p.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution = term
		},
		"anti-affinity": func(p *cluster.Pod) {
			p.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution = term
		},
		"to another namespace": func(p *cluster.Pod) {
			p.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution = otherTerm
		},
		"to every namespace": func(p *cluster.Pod) {
			p.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution = everyTerm
		},
		"spread":            spreadOver(func(*corev1.TopologySpreadConstraint) {}),
		"spread by":         spreadOver(func(c *corev1.TopologySpreadConstraint) { c.TopologyKey = "rack" }),
		"spread skewed":     spreadOver(func(c *corev1.TopologySpreadConstraint) { c.MaxSkew = 2 }),
		"spread over":       spreadOver(func(c *corev1.TopologySpreadConstraint) { c.MinDomains = ptr.To[int32](2) }),
		"spread of nobody":  spreadOver(func(c *corev1.TopologySpreadConstraint) { c.LabelSelector = nil }),
		"spread of a label": spreadOver(func(c *corev1.TopologySpreadConstraint) { c.MatchLabelKeys = []string{"app"} }),
		"spread without affinity": spreadOver(func(c *corev1.TopologySpreadConstraint) {
			c.NodeAffinityPolicy = ptr.To(corev1.NodeInclusionPolicyIgnore)
		}),
		"spread with taints": spreadOver(func(c *corev1.TopologySpreadConstraint) { c.NodeTaintsPolicy = ptr.To(corev1.NodeInclusionPolicyHonor) }),
	}
	same := map[string]func(*cluster.Pod){
		"name":                        func(p *cluster.Pod) { p.Name = "other" },
		"label that nobody looks at":  func(p *cluster.Pod) { p.Labels["hash"] = "2" },
		"image":                       func(p *cluster.Pod) { p.Spec.Containers[0].Image = "x:2" },
		"port of the container alone": func(p *cluster.Pod) { p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80}} },
		"seconds of a toleration":     func(p *cluster.Pod) { p.Spec.Tolerations[0].TolerationSeconds = nil },
		"no affinity":                 func(p *cluster.Pod) { p.Spec.Affinity = nil },
		"spread as far as possible":   spreadOver(func(c *corev1.TopologySpreadConstraint) { c.WhenUnsatisfiable = corev1.ScheduleAnyway }),
		"volume of anywhere":          func(p *cluster.Pod) { p.Volumes = []*cluster.Volume{{PersistentVolume: &corev1.PersistentVolume{}}} },
		"node":                        func(p *cluster.Pod) { p.Spec.NodeName = "node-1" },
		"deleted":                     func(p *cluster.Pod) { p.DeletionTimestamp = &metav1.Time{} },
	}

	// A pod that has not been scheduled looks at the label app.
	_, b := board(t, `
apiVersion: v1
kind: Pod
metadata: {name: looks, namespace: shop}
spec: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: x}}}]}
`)
	known := map[int32]string{}
	for name, change := range different {
		p := plain()
		change(p)
		c := int32(b.Class(p))
		if other, taken := known[c]; taken {
			t.Errorf("one class: %s, %s", name, other)
		}
		known[c] = name
	}
	for name, change := range same {
		p := plain()
		change(p)
		if known[int32(b.Class(p))] != "plain" {
			t.Errorf("another class: %s", name)
		}
	}
}
