// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"cmp"
	"encoding/binary"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
)

// key is everything about a pod that the filters look at, written one after the
// other: two pods with the same key fit the same nodes. It is kept between pods
// for its memory, because it is written for every pod of a cluster.
type key struct {
	bytes []byte
	pairs []pair
	names []corev1.ResourceName
}

type pair struct{ key, value string }

func (k *key) text(s string) {
	k.number(int64(len(s)))
	k.bytes = append(k.bytes, s...)
}

func (k *key) number(n int64) { k.bytes = binary.AppendVarint(k.bytes, n) }

func (k *key) texts(all []string) {
	k.number(int64(len(all)))
	for _, s := range all {
		k.text(s)
	}
}

// labels writes those labels whose key is wanted.
func (k *key) labels(all map[string]string, wanted func(string) bool) {
	k.pairs = k.pairs[:0]
	for key, value := range all {
		if wanted == nil || wanted(key) {
			k.pairs = append(k.pairs, pair{key, value})
		}
	}
	if len(k.pairs) > 1 {
		slices.SortFunc(k.pairs, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	}
	k.number(int64(len(k.pairs)))
	for _, p := range k.pairs {
		k.text(p.key)
		k.text(p.value)
	}
}

// pod writes a pod; of its labels those whose key is wanted.
func (k *key) pod(p *cluster.Pod, wanted func(string) bool) {
	k.bytes = k.bytes[:0]
	k.text(p.Namespace)
	k.labels(p.Labels, wanted)
	k.text(pinnedTo(p))
	spec := &p.Spec
	k.containers(spec.Containers)
	k.containers(spec.InitContainers)
	if spec.Resources != nil {
		k.resources(spec.Resources.Requests)
	} else {
		k.resources(nil)
	}
	k.resources(spec.Overhead)
	k.nodeSelection(p.Pod)
	k.tolerations(spec.Tolerations)
	k.volumes(p.Volumes)
	var together, apart []corev1.PodAffinityTerm
	if a := spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			together = a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		}
		if a.PodAntiAffinity != nil {
			apart = a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		}
	}
	k.terms(together)
	k.terms(apart)
	k.spread(spec.TopologySpreadConstraints)
}

func (k *key) containers(all []corev1.Container) {
	k.number(int64(len(all)))
	for i := range all {
		c := &all[i]
		if c.RestartPolicy != nil {
			k.text(string(*c.RestartPolicy))
		} else {
			k.text("")
		}
		k.resources(c.Resources.Requests)
		for j := range c.Ports {
			if p := &c.Ports[j]; p.HostPort > 0 {
				k.number(int64(p.HostPort))
				k.text(string(p.Protocol))
				k.text(p.HostIP)
			}
		}
		k.number(0)
	}
}

func (k *key) resources(list corev1.ResourceList) {
	k.names = k.names[:0]
	for name := range list {
		k.names = append(k.names, name)
	}
	if len(k.names) > 1 {
		slices.Sort(k.names)
	}
	k.number(int64(len(k.names)))
	for _, name := range k.names {
		quantity := list[name]
		k.text(string(name))
		k.number(quantity.MilliValue())
		k.number(quantity.Value()) // the thousandths of a large number do not fit
	}
}

// nodeSelection writes which nodes the pod asks for.
func (k *key) nodeSelection(pod *corev1.Pod) {
	k.labels(pod.Spec.NodeSelector, nil)
	var required *corev1.NodeSelector
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		required = a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	k.nodeSelector(required)
}

func (k *key) nodeSelector(s *corev1.NodeSelector) {
	if s == nil {
		k.number(-1)
		return
	}
	k.number(int64(len(s.NodeSelectorTerms)))
	for i := range s.NodeSelectorTerms {
		t := &s.NodeSelectorTerms[i]
		for _, list := range [][]corev1.NodeSelectorRequirement{t.MatchExpressions, t.MatchFields} {
			k.number(int64(len(list)))
			for j := range list {
				k.text(list[j].Key)
				k.text(string(list[j].Operator))
				k.texts(list[j].Values)
			}
		}
	}
}

func (k *key) tolerations(all []corev1.Toleration) {
	k.number(int64(len(all)))
	for i := range all {
		t := &all[i]
		k.text(t.Key)
		k.text(string(t.Operator))
		k.text(t.Value)
		k.text(string(t.Effect))
	}
}

// volumes writes the nodes that the volumes can be used on.
func (k *key) volumes(all []*cluster.Volume) {
	for _, v := range all {
		if v.Spec.NodeAffinity != nil && v.Spec.NodeAffinity.Required != nil {
			k.nodeSelector(v.Spec.NodeAffinity.Required)
		}
	}
	k.number(-2)
}

func (k *key) selector(s *metav1.LabelSelector) {
	if s == nil {
		k.number(-1)
		return
	}
	k.labels(s.MatchLabels, nil)
	k.number(int64(len(s.MatchExpressions)))
	for i := range s.MatchExpressions {
		r := &s.MatchExpressions[i]
		k.text(r.Key)
		k.text(string(r.Operator))
		k.texts(r.Values)
	}
}

func (k *key) terms(all []corev1.PodAffinityTerm) {
	k.number(int64(len(all)))
	for i := range all {
		t := &all[i]
		k.text(t.TopologyKey)
		k.selector(t.LabelSelector)
		k.texts(t.Namespaces)
		k.selector(t.NamespaceSelector)
	}
}

func (k *key) spread(all []corev1.TopologySpreadConstraint) {
	for i := range all {
		c := &all[i]
		if c.WhenUnsatisfiable != corev1.DoNotSchedule {
			continue
		}
		k.text(c.TopologyKey)
		k.number(int64(c.MaxSkew))
		k.selector(c.LabelSelector)
		k.texts(c.MatchLabelKeys)
		if c.MinDomains != nil {
			k.number(int64(*c.MinDomains))
		}
		k.number(-1)
		for _, policy := range []*corev1.NodeInclusionPolicy{c.NodeAffinityPolicy, c.NodeTaintsPolicy} {
			if policy != nil {
				k.text(string(*policy))
			}
			k.number(-1)
		}
	}
	k.number(-2)
}
