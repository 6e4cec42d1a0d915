// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
)

// DefaultName is the name of a lab that was given none.
const DefaultName = "default"

// The most machines that the address plan has room for, see Lab.plan.
const (
	maxControlPlanes = 7
	maxWorkers       = 50
)

// Options say what a lab shall be. The zero value is one control plane and two
// workers of the oldest version.
type Options struct {
	Name          string `json:"name"`          // DNS label; DefaultName if empty
	ControlPlanes int    `json:"controlPlanes"` // an odd number; more than one get a load balancer in front. 1 if 0
	Workers       int    `json:"workers"`       // 2 if 0
	Version       string `json:"version"`       // of Kubernetes, one of Versions(); the oldest if empty
	// Flavour is how the cluster is put together. Scratch has one control plane.
	Flavour Flavour `json:"flavour,omitempty"`
}

// release is a version of Kubernetes that a lab can run and upgrade to.
type release struct {
	Version string // without the v
	Module  string // below lab/build, has its programs
	Etcd    string // below lab/build, has the etcd that kubeadm of this version installs
}

// releases are those that the store serves, oldest first.
func releases() []release {
	return []release{
		{Version: "1.36.3", Module: "kubernetes-1.36", Etcd: "etcd-3.6"},
		{Version: "1.37.2", Module: "kubernetes-1.37", Etcd: "etcd-3.7"},
	}
}

// revision is what the packages have after the version of Kubernetes.
const revision = "1.1"

// What every kubeadm depends on for crictl: a module below lab/build and a package, whose
// version is the module's.
const (
	criTools        = "cri-tools"
	criToolsVersion = "1.36.0"
)

// Minor returns the minor version as repositories name it: 1.36.
func (r release) Minor() string { return r.Version[:strings.LastIndex(r.Version, ".")] }

// Versions are the values of Options.Version, oldest first.
func Versions() []string {
	var out []string
	for _, r := range releases() {
		out = append(out, r.Version)
	}
	return out
}

func (o Options) complete() (Options, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if err := validName(o.Name); err != nil {
		return o, err
	}
	if o.ControlPlanes == 0 {
		o.ControlPlanes = 1
	}
	if o.ControlPlanes < 0 || o.ControlPlanes > maxControlPlanes || o.ControlPlanes%2 == 0 {
		return o, fmt.Errorf("%d control planes: etcd wants an odd number, here of 1 to %d", o.ControlPlanes, maxControlPlanes)
	}
	switch o.Flavour {
	case Kubeadm, Scratch:
	case "kubeadm":
		o.Flavour = Kubeadm
	default:
		return o, fmt.Errorf("flavour %q: a lab can be one of %s", o.Flavour, strings.Join(Flavours(), ", "))
	}
	if o.Flavour == Scratch && o.ControlPlanes != 1 {
		return o, fmt.Errorf("%d control planes: a lab from scratch has one", o.ControlPlanes)
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	if o.Workers < 0 || o.Workers > maxWorkers {
		return o, fmt.Errorf("%d workers: a lab has 1 to %d", o.Workers, maxWorkers)
	}
	if o.Version == "" {
		o.Version = Versions()[0]
	}
	o.Version = strings.TrimPrefix(o.Version, "v")
	if !slices.Contains(Versions(), o.Version) {
		return o, fmt.Errorf("version %s of Kubernetes: a lab can be one of %s", o.Version, strings.Join(Versions(), ", "))
	}
	return o, nil
}

// String tells the options for an error.
func (o Options) String() string {
	from := ""
	if o.Flavour != Kubeadm {
		from = ", from " + string(o.Flavour)
	}
	return fmt.Sprintf("%s, %s, Kubernetes %s%s", phrase.Count(o.ControlPlanes, "control plane"), phrase.Count(o.Workers, "worker"), o.Version, from)
}

// validName wants a DNS label that leaves room: it becomes part of containers' names.
func validName(name string) error {
	problems := validation.IsDNS1123Label(name)
	if len(name) > 30 {
		problems = append(problems, "it has more than 30 characters")
	}
	if len(problems) > 0 {
		return hint.Wrap(fmt.Errorf("lab name %q: %s", name, strings.Join(problems, "; ")),
			"use lower case letters, digits and dashes, for example %s", DefaultName)
	}
	return nil
}
