// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"slices"
	"time"

	"refit.dev/refit/skew"
)

// Parts says which parts of a State to look at. Looking costs commands on the host:
// after a step only what the step may have changed needs to be looked at again.
type Parts uint

// The parts of a State.
const (
	PartSystem       Parts = 1 << iota // State.System
	PartPackages                       // State.Packages: installed, held, broken, locked, downloaded
	PartRepositories                   // State.Repositories and State.Offers
	PartAutomatic                      // State.Automatic
	PartDisks                          // State.Disks
	PartKubelet                        // State.Kubelet
	PartRuntime                        // State.Runtime
	PartPods                           // State.Pods
	PartCertificates                   // State.Certificates
	PartCopies                         // State.Copies
	PartImages                         // State.Images
	PartHealth                         // State.Health; PartPods comes with it

	PartAll = 1<<iota - 1
)

// Manager is the program that installs packages on a host.
type Manager string

// The package managers that are known.
const (
	Apt Manager = "apt"
	Dnf Manager = "dnf"
)

// The packages of Kubernetes, as its repositories name them.
const (
	PackageKubeadm  = "kubeadm"
	PackageKubelet  = "kubelet"
	PackageKubectl  = "kubectl"
	PackageCRITools = "cri-tools"
	PackageCNI      = "kubernetes-cni"
)

// packageNames are the packages of Kubernetes, in the order in which they are told.
func packageNames() []string {
	return []string{PackageKubeadm, PackageKubelet, PackageKubectl, PackageCRITools, PackageCNI}
}

// State is what one host was found to be. A part that was not looked at is nil. What
// could not be looked at for want of a program is named in Gaps.
type State struct {
	Manager Manager `json:"manager"`
	// OS is the PRETTY_NAME of /etc/os-release.
	OS string `json:"os,omitempty"`

	System       *System       `json:"system,omitempty"`
	Packages     *Packages     `json:"packages,omitempty"`
	Repositories []Repository  `json:"repositories,omitempty"`
	Offers       *Offers       `json:"offers,omitempty"`
	Automatic    *Automatic    `json:"automatic,omitempty"`
	Disks        *Disks        `json:"disks,omitempty"`
	Kubelet      *Kubelet      `json:"kubelet,omitempty"`
	Runtime      *Runtime      `json:"runtime,omitempty"`
	Pods         *Pods         `json:"pods,omitempty"`
	Certificates []Certificate `json:"certificates,omitempty"`
	Copies       []Copy        `json:"copies,omitempty"`
	Images       *Images       `json:"images,omitempty"`
	Health       *Health       `json:"health,omitempty"`

	// Gaps says what could not be looked at and why, a sentence each.
	Gaps []string `json:"gaps,omitempty"`

	looked Parts
}

// Looked returns the parts that were looked at.
func (s State) Looked() Parts { return s.looked }

// With returns s with the parts that newer has looked at taken from newer.
func (s State) With(newer State) State {
	s.Manager, s.OS = newer.Manager, newer.OS
	take := func(part Parts, from func()) {
		if newer.looked&part != 0 {
			from()
		}
	}
	take(PartSystem, func() { s.System = newer.System })
	take(PartPackages, func() { s.Packages = newer.Packages })
	take(PartRepositories, func() { s.Repositories, s.Offers = newer.Repositories, newer.Offers })
	take(PartAutomatic, func() { s.Automatic = newer.Automatic })
	take(PartDisks, func() { s.Disks = newer.Disks })
	take(PartKubelet, func() { s.Kubelet = newer.Kubelet })
	take(PartRuntime, func() { s.Runtime = newer.Runtime })
	take(PartPods, func() { s.Pods = newer.Pods })
	take(PartCertificates, func() { s.Certificates = newer.Certificates })
	take(PartCopies, func() { s.Copies = newer.Copies })
	take(PartImages, func() { s.Images = newer.Images })
	take(PartHealth, func() { s.Health = newer.Health })
	s.Gaps = newer.Gaps
	s.looked |= newer.looked
	return s
}

// System is what does not belong to Kubernetes.
type System struct {
	BootID string `json:"bootID"`
	// RebootRequired is what asks for a reboot; empty if nothing does.
	RebootRequired string `json:"rebootRequired,omitempty"`
	// CgroupV1 tells that the host runs on cgroup v1, on which kubelets since 1.35 do
	// not start unless their configuration says failCgroupV1: false.
	CgroupV1 bool `json:"cgroupV1,omitempty"`
}

// Package is one package of Kubernetes on a host.
type Package struct {
	Name string `json:"name"`
	// Version is the package manager's, with its revision and, if it is not 0, its
	// epoch: 1.37.2-1.1, 1.37.2-150500.1.1.
	Version string `json:"version"`
	Arch    string `json:"arch,omitempty"`
	// Held tells that upgrades leave the package alone: dpkg's hold, dnf's versionlock.
	Held bool `json:"held,omitempty"`
}

// Upstream is the version of Kubernetes in the package; false where the package has
// versions of another project, as cri-tools and kubernetes-cni do.
func (p Package) Upstream() (skew.Version, bool) { return upstream(p.Version) }

// Packages is what the package manager has.
type Packages struct {
	// Installed are the packages of Kubernetes that are installed, in the order of
	// kubeadm, kubelet, kubectl, cri-tools, kubernetes-cni.
	Installed []Package `json:"installed,omitempty"`
	// Broken are packages of any kind that are half installed.
	Broken []string `json:"broken,omitempty"`
	// Doubles are the newer ones of packages of Kubernetes that rpm has twice: their files
	// may be there in part, and their scripts may not have run.
	Doubles []Package `json:"doubles,omitempty"`
	// Interrupted tells that dpkg was ended in the middle of its work.
	Interrupted bool `json:"interrupted,omitempty"`
	// Lock is who holds the package manager's lock; nil if nobody does.
	Lock *Lock `json:"lock,omitempty"`
	// Downloaded are the names of the package files of Kubernetes in the cache.
	Downloaded []string `json:"downloaded,omitempty"`
}

// Get returns the installed package of that name, and whether there is one.
func (p *Packages) Get(name string) (Package, bool) {
	if p != nil {
		for _, installed := range p.Installed {
			if installed.Name == name {
				return installed, true
			}
		}
	}
	return Package{}, false
}

// interrupted tells that what was begun has to be ended before anything else.
func (p *Packages) interrupted() bool { return p != nil && (p.Interrupted || len(p.Broken) > 0) }

// doubles are the packages that rpm has twice.
func (p *Packages) doubles() []Package {
	if p == nil {
		return nil
	}
	return p.Doubles
}

// foreign are the broken packages that are not of Kubernetes.
func (p *Packages) foreign() []string {
	if p == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.Broken), func(name string) bool { return slices.Contains(packageNames(), name) })
}

// Held returns the names of the packages that are held.
func (p *Packages) Held() []string {
	var names []string
	if p != nil {
		for _, installed := range p.Installed {
			if installed.Held {
				names = append(names, installed.Name)
			}
		}
	}
	return names
}

// Lock is a lock of the package manager, and the process that holds it.
type Lock struct {
	Path    string `json:"path"`
	PID     int    `json:"pid"`
	Process string `json:"process,omitempty"`
}

// Offers is which versions of the packages can be installed, best first.
type Offers struct {
	// Configured is what the repositories offer as they are set up, as of the last
	// time that the lists were refreshed.
	Configured []Offer `json:"configured,omitempty"`
	// Ahead is what the repository of the target's minor offers right now, asked
	// without changing what the host has set up. Empty if the repository is set to
	// that minor, or if no target was named.
	Ahead []Offer `json:"ahead,omitempty"`
	// AheadError says why Ahead could not be asked; empty if it could.
	AheadError string `json:"aheadError,omitempty"`
}

// Offer is one version of a package in a repository.
type Offer struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Repository string `json:"repository,omitempty"`
}

// Automatic is what upgrades packages of the host on its own.
type Automatic struct {
	// Name is unattended-upgrades or dnf-automatic; empty if there is neither.
	Name string `json:"name,omitempty"`
	// Active tells that it runs and installs.
	Active bool `json:"active,omitempty"`
	// Touches are the installed packages of Kubernetes that it may upgrade.
	Touches []string `json:"touches,omitempty"`
}

// Disks is the space on the filesystems that matter.
type Disks struct {
	Filesystems []Disk `json:"filesystems,omitempty"`
	// Etcd is how many bytes etcd's data directory has: kubeadm copies it to
	// /etc/kubernetes/tmp on each attempt to upgrade a control plane.
	Etcd int64 `json:"etcd,omitempty"`
}

// Disk is the filesystem under a directory, in bytes.
type Disk struct {
	Path string `json:"path"`
	// Device is what is mounted, /dev/sda1 or the like; overlay, tmpfs and others are
	// no device.
	Device    string `json:"device"`
	Mount     string `json:"mount"`
	Size      int64  `json:"size"`
	Available int64  `json:"available"`
}

// Runtime is the container runtime.
type Runtime struct {
	// Endpoint is the socket that the kubelet uses: unix:///run/containerd/containerd.sock.
	Endpoint string `json:"endpoint,omitempty"`
	Name     string `json:"name,omitempty"`
	Version  string `json:"version,omitempty"`
}

// Images is what the container runtime has and what a version needs.
type Images struct {
	// Present are the images' names with tags.
	Present []string `json:"present,omitempty"`
	// Wanted are the images that the installed kubeadm names for the target. It knows
	// the exact tags of etcd, CoreDNS and pause only for its own minor.
	Wanted []string `json:"wanted,omitempty"`
	// Listed tells that the runtime could be asked for Present.
	Listed bool `json:"listed,omitempty"`
	// CRICtl tells that it was asked by crictl, which can also pull.
	CRICtl bool `json:"crictl,omitempty"`
}

// Copy is a directory that kubeadm left under /etc/kubernetes/tmp.
type Copy struct {
	Path     string    `json:"path"`
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
}
