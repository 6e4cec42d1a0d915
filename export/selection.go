// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/served"
)

// Secrets says what becomes of Secrets.
type Secrets string

// They are not read at all, encrypted each by itself, or written as they are.
const (
	SecretsOmit    Secrets = "omit"
	SecretsEncrypt Secrets = "encrypt"
	SecretsPlain   Secrets = "plain"
)

// Selection is which objects are meant. The zero value means all that somebody has put into the cluster, without Secrets.
type Selection struct {
	// Namespaces: only objects in these, and the namespaces themselves.
	Namespaces []string
	// Labels: only objects with these.
	Labels labels.Selector
	// Kinds: only these, as kubectl takes them; objects of them are not left out because of what
	// they are or who made them.
	Kinds []string
	// Exclude: not these kinds.
	Exclude []string
	// Generated: also what controllers, the control plane and machines have made.
	Generated bool
	Secrets   Secrets
}

// String is one line that is the same for Selections that mean the same.
func (s Selection) String() string {
	var parts []string
	add := func(what string, values []string) {
		if len(values) > 0 {
			values = slices.Clone(values)
			slices.Sort(values)
			parts = append(parts, what+"="+strings.Join(slices.Compact(values), ","))
		}
	}
	add("namespace", s.Namespaces)
	if s.Labels != nil && !s.Labels.Empty() {
		add("selector", []string{s.Labels.String()})
	}
	add("kind", s.Kinds)
	add("exclude-kind", s.Exclude)
	if s.Generated {
		parts = append(parts, "generated")
	}
	if s.Secrets != "" && s.Secrets != SecretsOmit {
		parts = append(parts, "secrets="+string(s.Secrets))
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

// ErrSelection is what the error is when the Selection is at fault.
var ErrSelection = errors.New("there is no such selection")

type selectionError struct{ error }

func (e selectionError) Unwrap() error        { return e.error }
func (e selectionError) Is(target error) bool { return target == ErrSelection }

// wanted is a resource that is exported.
type wanted struct {
	served.Resource
	named bool // by its kind: then whoever made it
}

// resources are those that the Selection means, in the order of the API, and those that it would mean if they could be
// listed and made.
func (s Selection) resources(api *served.API) (all []wanted, unfit []string, err error) {
	named := func(words []string) (map[string]bool, error) {
		set := map[string]bool{}
		for _, word := range words {
			found := api.Named(word)
			if len(found) == 0 {
				return nil, selectionError{hint.Wrap(fmt.Errorf("the API server serves no resource %q", word), "kubectl api-resources lists them")}
			}
			for i := range found {
				set[found[i].String()] = true
			}
		}
		return set, nil
	}
	kinds, err := named(s.Kinds)
	if err != nil {
		return nil, nil, err
	}
	exclude, err := named(s.Exclude)
	if err != nil {
		return nil, nil, err
	}
	for i := range api.Resources {
		r := &api.Resources[i]
		name := r.String()
		namespace := r.Group == "" && r.Resource == "namespaces"
		switch {
		case !r.Preferred, exclude[name], len(kinds) > 0 && !kinds[name]:
		case len(s.Namespaces) > 0 && !r.Namespaced && !namespace:
		case r.Group == "" && r.Resource == "secrets" && (s.Secrets == "" || s.Secrets == SecretsOmit):
		case r.Group == "events.k8s.io" && r.Resource == "events" && !kinds[name]: // the events of the core group once more
		case !r.Can("list"):
			unfit = append(unfit, name)
		case !r.Can("create"):
			unfit = append(unfit, name) // it is computed, as componentstatuses and metrics are
		default:
			all = append(all, wanted{Resource: *r, named: kinds[name]})
		}
	}
	for _, m := range api.Missing {
		if computed(m.Group.Group) {
			unfit = append(unfit, m.Group.String())
		}
	}
	return all, unfit, nil
}

// computed tells of the groups of k8s.io/metrics: whoever serves them, nothing of them can be made, and nothing is
// lost if their server is away.
func computed(group string) bool {
	return group == "metrics.k8s.io" || strings.HasSuffix(group, ".metrics.k8s.io")
}
