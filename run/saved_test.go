// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
)

// savedPlan is one of two nodes that makes sense.
func savedPlan() *SavedPlan {
	spec := testSpec("a", "b")
	spec.Run, spec.Order = "", []string{"b", "a"}
	p := &SavedPlan{APIVersion: savedVersion, Kind: savedKind, Spec: spec, Plan: plan.Plan{Slots: 1, PredictedSeconds: 20}}
	for i, name := range spec.Order {
		at := float64(10 * i)
		p.Nodes = append(p.Nodes, plan.Node{Name: name, UID: testUID(name), Start: &at, Done: ptr.To(at + 10)})
	}
	for _, name := range []string{"a", "b", "c"} {
		p.Ground.Nodes = append(p.Ground.Nodes, plan.GroundNode{Name: name, UID: testUID(name)})
	}
	return p
}

func readBack(t *testing.T, p *SavedPlan) (*SavedPlan, error) {
	t.Helper()
	text, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return ReadPlan(bytes.NewReader(text))
}

// TestNoLogin: plans and journals that were made when the login in the URL of a server was recorded do not show it.
func TestNoLogin(t *testing.T) {
	const server, want = "https://adm:hunter2@10.0.0.1:6443", "https://10.0.0.1:6443"
	p := savedPlan()
	p.Spec.Cluster.Server = server
	if p, err := readBack(t, p); err != nil || p.Spec.Cluster.Server != want {
		t.Errorf("of a plan: %+v, %v", p, err)
	}
	store, spec := testStore(t), testSpec("a")
	spec.Cluster.Server = server
	j, err := store.create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := store.Read(spec.Run); err != nil || s.Spec.Cluster.Server != want {
		t.Errorf("of a journal: %+v, %v", s, err)
	}
}

func TestReadPlan(t *testing.T) {
	p, err := readBack(t, savedPlan())
	if err != nil || len(p.Nodes) != 2 || p.Spec.Order[0] != "b" {
		t.Fatalf("%+v, %v", p, err)
	}
	for says, text := range map[string]string{
		"it is empty":                                " \n",
		"it is neither YAML nor JSON":                "\t{",
		"it is no plan: its kind is \"Deployment\"":  "apiVersion: apps/v1\nkind: Deployment\n",
		"it is a plan of version \"refit.dev/v9\"":   "apiVersion: refit.dev/v9\nkind: MaintenancePlan\n",
		"it is damaged":                              "apiVersion: refit.dev/v1alpha1\nkind: MaintenancePlan\nzeal: 1\n",
		"it does not make sense: it has no spec":     "apiVersion: refit.dev/v1alpha1\nkind: MaintenancePlan\n",
		"it holds more than one YAML document":       "# a plan\n---\napiVersion: refit.dev/v1alpha1\nkind: MaintenancePlan\n--- # and another\nkind: MaintenancePlan\n",
		"it holds more than one YAML document: a pl": "apiVersion: refit.dev/v1alpha1\nkind: MaintenancePlan\n...\nkind: MaintenancePlan\n",
		"it is damaged: error unmarshaling JSON: wh": "apiVersion: refit.dev/v1alpha1\nkind: MaintenancePlan\nspec: {maxUnavailable: 200%}\n",
	} {
		if _, err := ReadPlan(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}

// A plan is read from a file that anybody may have edited.
func TestReadPlanThatWasEdited(t *testing.T) {
	for says, edit := range map[string]func(*SavedPlan){
		"it does not say what it stands on": func(p *SavedPlan) { p.Ground.Nodes = nil },
		"it has blockers":                   func(p *SavedPlan) { p.Blockers = []cluster.Finding{{Code: "x"}} },
		"want either a command or a reboot": func(p *SavedPlan) { p.Spec.Reboot = false },
		"either a command or a reboot":      func(p *SavedPlan) { p.Spec.Reboot, p.Spec.Command = false, " \t" },
		"and disableEviction exclude":       func(p *SavedPlan) { p.Spec.SurgeSingletons, p.Spec.Drain.DisableEviction = true, true },
		"nodes are not sorted":              func(p *SavedPlan) { p.Spec.Nodes[0], p.Spec.Nodes[1] = p.Spec.Nodes[1], p.Spec.Nodes[0] },
		"its spec has no order":             func(p *SavedPlan) { p.Spec.Order = nil },
		"the order is not one of the nodes": func(p *SavedPlan) { p.Spec.Order = []string{"a", "a"} },
		"not in the order of the spec":      func(p *SavedPlan) { p.Nodes[0], p.Nodes[1] = p.Nodes[1], p.Nodes[0] },
		"node b is not that of the spec":    func(p *SavedPlan) { p.Nodes[0].UID = "other" },
		"node c is not that of the spec":    func(p *SavedPlan) { p.Nodes[0].Name = "c" },
		"node b is not that of the ground":  func(p *SavedPlan) { p.Ground.Nodes[1].UID = "other" },
		"node a is not that of the ground":  func(p *SavedPlan) { p.Ground.Nodes = p.Ground.Nodes[1:] },
		"the times of node b are not in or": func(p *SavedPlan) { p.Nodes[0].Done = ptr.To(-1.0) },
		"the times of node a are not in or": func(p *SavedPlan) { p.Nodes[1].Start = ptr.To(30.0) },
		"-1 seconds: want 0 or more":        func(p *SavedPlan) { p.PredictedSeconds = -1 },
		"slots or eager are not those":      func(p *SavedPlan) { p.Eager = 3 },
		"the drain timeout is 0s":           func(p *SavedPlan) { p.Spec.Timeouts.Drain.Duration = 0 },
		"--pod-selector \"a in\"":           func(p *SavedPlan) { p.Spec.Drain.PodSelector = "a in" },
	} {
		p := savedPlan()
		edit(p)
		if _, err := readBack(t, p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
	p := savedPlan()
	p.Ground.Nodes[0].Unschedulable = true // else it would be uncordoned, which it was not to be
	if _, err := readBack(t, p); err == nil || !strings.Contains(err.Error(), "node a is not that of the ground") {
		t.Errorf("got %v", err)
	}
}
