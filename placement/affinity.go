// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"refit.dev/refit/cluster"
)

// domain is a part of the cluster: the nodes with that value of a label.
type domain struct{ key, value string }

// term is one parsed term of inter-pod affinity.
type term struct {
	topology   string
	selector   labels.Selector
	namespaces []string
	byLabels   labels.Selector // of namespaces; nil for none
}

// selectors caches parsed label selectors by the object they came from, which
// lives as long as the snapshot.
type selectors map[*metav1.LabelSelector]labels.Selector

// get parses s; a missing or an invalid one matches nothing, as in the scheduler.
func (c *selectors) get(s *metav1.LabelSelector) labels.Selector {
	if parsed, ok := (*c)[s]; ok {
		return parsed
	}
	parsed, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		parsed = labels.Nothing()
	}
	if *c == nil {
		*c = selectors{}
	}
	(*c)[s] = parsed
	return parsed
}

// terms parses the terms of a pod of namespace.
func (c *selectors) terms(namespace string, required []corev1.PodAffinityTerm) []term {
	terms := make([]term, 0, len(required))
	for i := range required {
		t := term{topology: required[i].TopologyKey, selector: c.get(required[i].LabelSelector), namespaces: required[i].Namespaces}
		if s := required[i].NamespaceSelector; s != nil {
			t.byLabels = c.get(s)
		} else if len(t.namespaces) == 0 {
			t.namespaces = []string{namespace}
		}
		terms = append(terms, t)
	}
	return terms
}

// matches tells whether a pod with those labels is one that t speaks of.
func (t *term) matches(s *cluster.Snapshot, namespace string, pod labels.Set) bool {
	return t.inNamespace(s, namespace) && t.selector.Matches(pod)
}

func (t *term) inNamespace(s *cluster.Snapshot, namespace string) bool {
	return slices.Contains(t.namespaces, namespace) || t.byLabels != nil && t.byLabels.Matches(s.Namespaces[namespace])
}

// each calls do with every pod that t speaks of, without self.
func (r *Room) each(t *term, self *cluster.Pod, do func(*cluster.Pod)) {
	in := func(namespace string) {
		for _, p := range r.pods[namespace] {
			if p != self && t.selector.Matches(labels.Set(p.Labels)) {
				do(p)
			}
		}
	}
	if t.byLabels == nil {
		for _, namespace := range t.namespaces {
			in(namespace)
		}
		return
	}
	for namespace := range r.pods {
		if t.inNamespace(r.s, namespace) {
			in(namespace)
		}
	}
}

// repulsion is one term of the required anti-affinity of a pod that runs, with
// the domain that it holds against others.
type repulsion struct {
	by     *cluster.Pod
	term   term
	domain domain
}

func (r *Room) addRepulsion(p *cluster.Pod) {
	affinity := p.Spec.Affinity
	if affinity == nil || affinity.PodAntiAffinity == nil {
		return
	}
	for _, t := range r.selectors.terms(p.Namespace, affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) {
		value, ok := p.Host.Labels[t.topology]
		if !ok {
			continue
		}
		x := repulsion{p, t, domain{t.topology, value}}
		if t.byLabels != nil {
			r.anywhere = append(r.anywhere, x)
			continue
		}
		for _, namespace := range t.namespaces {
			r.repelling[namespace] = append(r.repelling[namespace], x)
		}
	}
}

// apart is where the pod may not be because of required anti-affinity.
type apart struct {
	own    map[domain]bool // of the pod against pods that run there
	others map[domain]bool // of those against the pod
}

func (r *Room) findApart(q *question) apart {
	var a apart
	if affinity := q.pod.Spec.Affinity; affinity != nil && affinity.PodAntiAffinity != nil {
		a.own = map[domain]bool{}
		terms := r.selectors.terms(q.pod.Namespace, affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		for i := range terms {
			t := &terms[i]
			r.each(t, q.self, func(p *cluster.Pod) {
				if value, ok := p.Host.Labels[t.topology]; ok {
					a.own[domain{t.topology, value}] = true
				}
			})
		}
	}
	for _, list := range [][]repulsion{r.repelling[q.pod.Namespace], r.anywhere} {
		for i := range list {
			x := &list[i]
			if x.by == q.self || !x.term.matches(r.s, q.pod.Namespace, q.pod.Labels) {
				continue
			}
			if a.others == nil {
				a.others = map[domain]bool{}
			}
			a.others[x.domain] = true
		}
	}
	return a
}

func (a *apart) against(node *cluster.Node) string {
	for d := range a.own {
		if node.Labels[d.key] == d.value && hasLabel(node, d.key) {
			return "a pod there that its anti-affinity forbids"
		}
	}
	for d := range a.others {
		if node.Labels[d.key] == d.value && hasLabel(node, d.key) {
			return "a pod there whose anti-affinity forbids it"
		}
	}
	return ""
}

func hasLabel(node *cluster.Node, key string) bool {
	_, ok := node.Labels[key]
	return ok
}

// together is where the pod must be because of required affinity.
type together struct {
	terms []term
	found []map[string]bool // values of each term's topology where matching pods run
	first bool              // nobody matches yet but the pod itself: it may go first
}

// findTogether: a pod counts if it matches all terms; it then serves each of them
// in its own domain (interpodaffinity, getIncomingAffinityAntiAffinityCounts).
func (r *Room) findTogether(q *question) together {
	affinity := q.pod.Spec.Affinity
	if affinity == nil || affinity.PodAffinity == nil {
		return together{}
	}
	t := together{terms: r.selectors.terms(q.pod.Namespace, affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)}
	if len(t.terms) == 0 {
		return together{}
	}
	matchesAll := func(pod *corev1.Pod) bool {
		for i := range t.terms {
			if !t.terms[i].matches(r.s, pod.Namespace, pod.Labels) {
				return false
			}
		}
		return true
	}
	t.found = make([]map[string]bool, len(t.terms))
	found := false
	r.each(&t.terms[0], q.self, func(p *cluster.Pod) {
		if !matchesAll(p.Pod) {
			return
		}
		for i := range t.terms {
			if value, ok := p.Host.Labels[t.terms[i].topology]; ok {
				if t.found[i] == nil {
					t.found[i] = map[string]bool{}
				}
				t.found[i][value] = true
				found = true
			}
		}
	})
	t.first = !found && matchesAll(q.pod)
	return t
}

func (t *together) against(node *cluster.Node) string {
	for i := range t.terms {
		value, ok := node.Labels[t.terms[i].topology]
		if !ok || !t.first && !t.found[i][value] {
			return "no pod there that its affinity asks for"
		}
	}
	return ""
}
