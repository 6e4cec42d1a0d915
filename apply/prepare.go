// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/manifest"
	"refit.dev/refit/served"
)

// BlockedError says why an import would not work in this cluster at present; nothing was changed.
type BlockedError struct{ Why string }

func (e *BlockedError) Error() string { return e.Why }

// Step is a stage of an import, for those who decide about it.
type Step struct {
	Phase manifest.Phase
	// New objects are not there, Existing ones are, and may be changed.
	New, Existing int
}

// Prepared is an import that can be begun.
type Prepared struct {
	Steps []Step
	// Warnings are what is worth knowing before it begins.
	Warnings []string
	// System are objects that are there, and that the cluster itself stands on: what another
	// cluster has in their place breaks it.
	System []string

	api    *served.API
	stages [][]*target
	live   map[manifest.Key]live
}

// Prepare looks at a cluster for what an import will meet. Objects without a namespace go into that one. Errors are an InputError or a
// BlockedError, or come from asking the cluster; nothing is changed.
func Prepare(ctx context.Context, api *served.API, objects []Object, namespace string) (*Prepared, error) {
	k := newKinds(api, objects)
	targets, problems := k.targets(objects, namespace)
	if len(problems) > 0 {
		return nil, &InputError{problems}
	}
	l := &looker{client: api.Client, found: map[manifest.Key]live{}}
	if err := l.look(ctx, k, targets); err != nil {
		return nil, err
	}
	p := &Prepared{api: api, live: l.found}
	if err := p.order(targets); err != nil {
		return nil, &InputError{[]string{err.Error()}}
	}
	if err := p.judge(targets); err != nil {
		return nil, err
	}
	return p, nil
}

// order puts the targets into stages.
func (p *Prepared) order(targets []*target) error {
	of := make(map[manifest.Key]*target, len(targets))
	objects := make([]*unstructured.Unstructured, len(targets))
	for i, t := range targets {
		of[t.key], objects[i] = t, t.Unstructured
	}
	stages, err := manifest.Stages(objects)
	if err != nil {
		return err
	}
	for _, s := range stages {
		step := Step{Phase: s.Phase}
		stage := make([]*target, len(s.Objects))
		for i, u := range s.Objects {
			stage[i] = of[manifest.KeyOf(u)]
			if _, there := p.live[stage[i].key]; there {
				step.Existing++
			} else {
				step.New++
			}
		}
		p.stages, p.Steps = append(p.stages, stage), append(p.Steps, step)
	}
	return nil
}

// judge refuses what cannot work: namespaces that are not there, or are going.
func (p *Prepared) judge(targets []*target) error {
	making := map[string]bool{}
	for _, t := range targets {
		if t.key == namespaceKey(t.GetName()) {
			making[t.GetName()] = true
		}
	}
	missing, leaving := map[string]bool{}, map[string]bool{}
	var problems, going []string
	for _, t := range targets {
		namespace := t.GetNamespace()
		if t.key == namespaceKey(t.GetName()) {
			namespace = t.GetName()
		}
		there, ok := p.live[namespaceKey(namespace)]
		switch {
		case namespace == "":
		case ok && there.leaving && !leaving[namespace]:
			leaving[namespace] = true
			going = append(going, namespace)
		case !ok && !making[namespace] && !missing[namespace]:
			missing[namespace] = true
			problems = append(problems, fmt.Sprintf("%s: %s: there is no namespace %s, in the cluster or in the files", t.From, t.key, namespace))
		}
		p.lostOwners(t)
		if _, there := p.live[t.key]; there && ofSystem(t) {
			p.System = append(p.System, t.key.String())
		}
	}
	if len(problems) > 0 {
		slices.Sort(problems)
		return hint.Wrap(&InputError{problems}, "make it first: kubectl create namespace %s", slices.Sorted(maps.Keys(missing))[0])
	}
	if len(going) > 0 {
		slices.Sort(going)
		return hint.Wrap(&BlockedError{fmt.Sprintf("the cluster is deleting namespace %s: nothing can be made in it", going[0])},
			"wait until it is gone: kubectl wait --for=delete namespace/%s", going[0])
	}
	return nil
}

// lostOwners warns of references to owners that are nowhere.
func (p *Prepared) lostOwners(t *target) {
	for _, owner := range manifest.Owners(t.Unstructured) {
		found := slices.ContainsFunc(manifest.OwnerKeys(t.Unstructured, owner), func(k manifest.Key) bool {
			_, there := p.live[k]
			return there || p.makes(k)
		})
		if !found {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s is owned by %s %s, which is neither in the cluster nor in the files: it will be owned by nobody", t.key, owner.Kind, owner.Name))
		}
	}
}

// makes tells whether an object is among those to be made.
func (p *Prepared) makes(k manifest.Key) bool {
	return slices.ContainsFunc(p.stages, func(stage []*target) bool {
		_, ok := slices.BinarySearchFunc(stage, k, func(t *target, k manifest.Key) int { return manifest.Compare(t.key, k) })
		return ok
	})
}
