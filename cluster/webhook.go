// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// addWebhooks comes after pods. What a configuration leaves out is filled in as
// the API server does: failurePolicy Fail, selectors that match everything.
func addWebhooks(s *Snapshot, o *objects) {
	services := map[types.NamespacedName]*service{}
	for _, svc := range o.services {
		services[types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}] = &service{Service: svc}
	}
	add := func(w *Webhook, policy *admissionv1.FailurePolicyType, client admissionv1.WebhookClientConfig, namespaces, objs *metav1.LabelSelector) {
		w.FailurePolicy = admissionv1.Fail
		if policy != nil {
			w.FailurePolicy = *policy
		}
		w.Namespaces, w.Objects = selectorOr(namespaces, labels.Everything()), selectorOr(objs, labels.Everything())
		if svc := client.Service; svc != nil {
			w.Service = types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}
			if found := services[w.Service]; found != nil {
				w.ServiceFound, w.ServiceSelects = true, len(found.Spec.Selector) > 0
				w.Backends = found.backends(s)
			}
		}
		s.Webhooks = append(s.Webhooks, w)
	}
	for _, c := range o.validating {
		for i := range c.Webhooks {
			h := &c.Webhooks[i]
			add(&Webhook{Configuration: c.Name, Name: h.Name, Rules: h.Rules, Conditions: h.MatchConditions}, h.FailurePolicy, h.ClientConfig, h.NamespaceSelector, h.ObjectSelector)
		}
	}
	for _, c := range o.mutating {
		for i := range c.Webhooks {
			h := &c.Webhooks[i]
			add(&Webhook{Configuration: c.Name, Mutating: true, Name: h.Name, Rules: h.Rules, Conditions: h.MatchConditions}, h.FailurePolicy, h.ClientConfig, h.NamespaceSelector, h.ObjectSelector)
		}
	}
	slices.SortStableFunc(s.Webhooks, func(a, b *Webhook) int {
		return cmp.Or(cmp.Compare(a.Configuration, b.Configuration), compareBool(a.Mutating, b.Mutating), cmp.Compare(a.Name, b.Name))
	})
}

// service is a Service with the pods that it selects, once somebody asked for them.
type service struct {
	*corev1.Service
	selected []*Pod
	asked    bool
}

func (svc *service) backends(s *Snapshot) []*Pod {
	if svc.asked || len(svc.Spec.Selector) == 0 {
		return svc.selected
	}
	svc.asked = true
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	for _, p := range s.Pods {
		if p.Namespace == svc.Namespace && selector.Matches(labels.Set(p.Labels)) {
			svc.selected = append(svc.selected, p)
		}
	}
	return svc.selected
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
