// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/internal/document"
	"refit.dev/refit/skew"
)

// What a saved plan says it is.
const (
	savedVersion = "refit.dev/v1alpha1"
	savedKind    = "UpgradePlan"
)

// SavedPlan is a plan as it is shown to scripts, kept, approved and applied later.
type SavedPlan struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Plan
	// Created is when the cluster was read.
	Created time.Time `json:"created"`
	// Cluster is the UID of its namespace kube-system.
	Cluster types.UID `json:"cluster"`
	// Spec is what was asked for.
	Spec Intent `json:"spec"`
	// Ground is what the plan stands on.
	Ground Ground `json:"ground"`
}

// Save returns a plan that was decided from a State in the form in which it can be kept.
func Save(s *State, in Intent, p *Plan) SavedPlan {
	return SavedPlan{APIVersion: savedVersion, Kind: savedKind, Plan: *p, Created: s.Snapshot.Time.UTC(), Cluster: s.Cluster, Spec: in, Ground: GroundOf(s)}
}

// Type is what the plan says it is.
func (p *SavedPlan) Type() metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: p.APIVersion, Kind: p.Kind}
}

// ReadPlan reads a saved plan, in YAML or JSON. The error says why it is none, or none that
// can be applied; it does not name the file.
func ReadPlan(r io.Reader) (*SavedPlan, error) {
	var p SavedPlan
	if err := document.Read(r, savedVersion, savedKind, &p); err != nil {
		return nil, err
	}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("it does not make sense: %w", err)
	}
	return &p, nil
}

// Again is what the plan was asked for, with the version that it leads to.
func (p *SavedPlan) Again() Intent {
	in := p.Spec
	in.Version = p.To
	return in
}

// validate says what is wrong with a plan, as far as that can be said without a cluster.
func (p *SavedPlan) validate() error {
	switch {
	case p.Cluster == "" || len(p.Ground.Nodes) == 0:
		return errors.New("it does not say what it stands on (cluster, ground)")
	case len(p.Blockers()) > 0:
		return errors.New("it has blockers")
	case p.Spec.Version.Minor != p.To.Minor || p.To.Patch == skew.Unknown && p.Method != Managed:
		return fmt.Errorf("it leads to %s, and %s was asked for", p.To, p.Spec.Version)
	case p.Spec.MaxUnavailable < 1 || p.Spec.MaxUnavailable != p.MaxUnavailable || p.Spec.Workers != p.Workers:
		return errors.New("maxUnavailable or workerHops are not those of the spec")
	}
	if _, err := ParseMethod(string(p.Method)); err != nil {
		return fmt.Errorf("unknown method %w", err)
	}
	switch p.Spec.Strategy {
	case "", Rolling, AllAtOnce, Replace:
	default:
		return fmt.Errorf("unknown strategy %q", p.Spec.Strategy)
	}
	if p.Strategy != p.Spec.Strategy && (p.Strategy != "" || p.Spec.Strategy != Rolling) || p.Strategy == Replace && (p.Surge < 1 || p.Surge != p.Spec.Surge) {
		return errors.New("strategy or surge are not those of the spec")
	}
	ground := map[string]types.UID{}
	for _, g := range p.Ground.Nodes {
		ground[g.Name] = g.UID
	}
	last := p.From.Minor
	for _, h := range p.Hops {
		if h.To.Minor < last || h.To.Minor > last+1 || h.To.Patch == skew.Unknown && p.Method != Managed {
			return fmt.Errorf("a hop leads from 1.%d to %s", last, h.To)
		}
		last = h.To.Minor
		for _, v := range slices.Concat(h.ControlPlane, h.Workers) {
			if v.Role == ManagedControlPlane && v.Node == "" && p.Method == Managed {
				continue
			}
			if uid, known := ground[v.Node]; !known || uid != v.UID {
				return fmt.Errorf("node %s is not that of the ground", v.Node)
			}
		}
	}
	if len(p.Hops) > 0 && p.Hops[len(p.Hops)-1].To != p.To {
		return fmt.Errorf("its last hop does not lead to %s", p.To)
	}
	return nil
}
