// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/provider"
)

// replaceable looks beforehand whether machines can be replaced: whether the provider answers,
// and whether this user may do what it takes. It returns what the provider lists.
func (o *Operator) replaceable(ctx context.Context, r *Replace) ([]provider.Machine, error) {
	if err := r.Provider.Check(); err != nil {
		return nil, &InputError{fmt.Errorf("the provider: %w", err)}
	}
	if r.Surge < 1 {
		return nil, badInput("--surge %d: want 1 or more", r.Surge)
	}
	asker := &provider.Exec{Config: r.Provider, Clock: o.Clock}
	list, err := asker.List(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, hint.Wrap(&BlockedError{fmt.Errorf("the provider does not answer as it has to: %w", err)},
			"try its list command by hand; nothing was changed")
	}
	needed := []authorizationv1.ResourceAttributes{{Verb: "delete", Resource: "nodes"}}
	if r.Provider.Join == provider.JoinKubeadm {
		for _, verb := range []string{"create", "delete"} {
			needed = append(needed, authorizationv1.ResourceAttributes{Verb: verb, Resource: "secrets", Namespace: metav1.NamespaceSystem})
		}
		if _, err := (apiRoster{client: o.Client, clock: o.Clock}).discover(ctx); err != nil {
			return nil, &BlockedError{err}
		}
	}
	var missing []string
	for _, x := range needed {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &x}}
		found, err := o.Client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("see what this user may do: %w", err)
		}
		if !found.Status.Allowed {
			missing = append(missing, strings.TrimSuffix(x.Verb+" "+x.Resource+" in "+x.Namespace, " in "))
		}
	}
	if len(missing) > 0 {
		return nil, hint.Wrap(&BlockedError{fmt.Errorf("this user lacks permissions that replacing nodes takes: %s", phrase.Few(missing, len(missing)))},
			"bind the roles of docs/how-to/refit-replace.yaml; nothing was changed")
	}
	return list, nil
}

// replaces is the Replace of an upgrade, with what is to be written down of the cluster and its machines.
func (u *Upgrade) replaces(s *cluster.Snapshot, list []provider.Machine) (*Replace, error) {
	r := *u.Replace
	r.Machines, r.Nodes = map[string]provider.Machine{}, nil
	for _, n := range s.Nodes {
		r.Nodes = append(r.Nodes, n.Name)
	}
	slices.Sort(r.Nodes)
	var unknown, planes []string
	for _, stage := range u.Stages {
		if stage.Role != Workers {
			continue
		}
		for _, name := range stage.Nodes {
			if n := s.Node(name); n != nil && cluster.PlaneLabel(n.Node) != "" {
				planes = append(planes, name+" ("+cluster.PlaneLabel(n.Node)+")")
			}
			if _, twice := r.Machines[name]; twice {
				return nil, hint.Wrap(&InputError{errors.New("workers would have to be replaced more than once")},
					"go there in two upgrades, the first one to a version that the workers may skip from; nothing was changed")
			}
			m, known := provider.ByNode(list, name)
			if !known {
				unknown = append(unknown, name)
				continue
			}
			m.Deleting = false
			r.Machines[name] = m
		}
	}
	if len(planes) > 0 {
		return nil, hint.Wrap(&BlockedError{fmt.Errorf("%s labelled as of the control plane, and such a node is never replaced: %s",
			phrase.Count(len(planes), "node")+phrase.Plural(len(planes), " is", " are"), phrase.Few(planes, 5))},
			"make a new plan; if a label is not true, take it off; nothing was changed")
	}
	if len(unknown) > 0 {
		return nil, hint.Wrap(&BlockedError{fmt.Errorf("the provider lists no machine for %s: %s", phrase.Count(len(unknown), "node"), phrase.Few(unknown, 5))},
			"its list has to name the Node of each machine that it could remove; nothing was changed")
	}
	if len(r.Machines) == 0 && u.Managed == nil {
		return nil, badInput("there is no worker to replace")
	}
	return &r, nil
}
