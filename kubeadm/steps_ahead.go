// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"slices"
	"strings"

	"refit.dev/refit/skew"
)

// repository points the repository of Kubernetes at the target's minor. The content
// before is kept beside the file, under a name that apt and dnf pass over.
func (t Target) repository(observed State) Step {
	minor := t.Version.Minor
	words := fmt.Sprintf("point the package repository at v1.%d", minor)
	if r, found := repositoryAt(observed.Repositories, minor); found {
		words += " (" + r.File + ")"
	}
	return Step{
		Name: StepRepository, Stage: Ahead, Changes: PartRepositories, Words: words,
		done: func(s State) bool {
			r, found := repositoryAt(s.Repositories, minor)
			return found && (r.Minor == minor || r.Minor == 0)
		},
		actions: func(s State) ([]Action, error) {
			r, found := repositoryAt(s.Repositories, minor)
			if !found {
				return nil, t.cannot(StepRepository, KindNoRepository, "no enabled repository of the host serves the packages of Kubernetes",
					fmt.Sprintf("set up the repository of v1.%d as https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/ says, then plan again", minor))
			}
			if r.Linked {
				return nil, t.cannot(StepRepository, KindNoRepository, r.File+" is a link to another file",
					fmt.Sprintf("point it at v1.%d where it is kept", minor))
			}
			return []Action{{
				Path: r.File, Keep: saveName(r),
				edit: func(content string) (string, error) { return r.pointAt(content, minor) },
				Note: fmt.Sprintf("v1.%d becomes v1.%d in line %d and what belongs to it; the file as it was is kept as %s", r.Minor, minor, r.Line, saveName(r)),
			}}, nil
		},
	}
}

// saveName is where the file of a repository is kept as it was. apt passes over the
// ending .save (Dir::Ignore-Files-Silently), dnf reads *.repo alone.
func saveName(r Repository) string { return fmt.Sprintf("%s.v1.%d.save", r.File, r.Minor) }

// lists refreshes the package lists of the one repository: others of the host, which
// may be out of order, are not asked.
func (t Target) lists() Step {
	return Step{
		Name: StepLists, Stage: Ahead, Changes: PartRepositories | PartPackages,
		Words: fmt.Sprintf("refresh the package lists of v1.%d", t.Version.Minor),
		done: func(s State) bool {
			if s.Offers == nil || s.Packages == nil {
				return false
			}
			for _, name := range t.due(s) {
				if _, found := pick(s.Offers.Configured, name, t.Version); !found {
					return false
				}
			}
			return true
		},
		actions: func(s State) ([]Action, error) {
			r, found := repositoryAt(s.Repositories, t.Version.Minor)
			if !found {
				return nil, t.cannot(StepLists, KindNoRepository, "no enabled repository of the host serves the packages of Kubernetes", "set one up, then plan again")
			}
			return []Action{t.action(StepLists, managed(s).refresh(r))}, nil
		},
	}
}

// download gets the package files into the cache.
func (t Target) download() Step {
	return Step{
		Name: StepDownload, Stage: Ahead, Changes: PartPackages,
		Words: fmt.Sprintf("download the packages of %s", t.Version),
		done: func(s State) bool {
			wanted, err := t.wanted(s, StepDownload, t.due(s)...)
			return err == nil && s.Packages != nil && !slices.ContainsFunc(wanted, func(o Offer) bool {
				return !slices.ContainsFunc(s.Packages.Downloaded, func(file string) bool { return strings.HasPrefix(file, managed(s).file(o)) })
			})
		},
		actions: func(s State) ([]Action, error) {
			wanted, err := t.wanted(s, StepDownload, t.due(s)...)
			if err != nil {
				return nil, err
			}
			return []Action{t.action(StepDownload, managed(s).download(wanted, s))}, nil
		},
	}
}

// kubeadm installs the package kubeadm, a program that nothing runs by itself.
func (t Target) kubeadm() Step {
	return t.install(StepKubeadm, Ahead, func(State) []string { return []string{PackageKubeadm} })
}

// install installs packages at the target's version.
func (t Target) install(name StepName, stage Stage, packages func(State) []string) Step {
	what := "kubeadm"
	if name == StepKubelet {
		what = "kubelet and kubectl"
	}
	return Step{
		Name: name, Stage: stage, Changes: PartPackages | PartKubelet,
		Words: fmt.Sprintf("install %s %s", what, t.Version),
		done: func(s State) bool {
			if s.Packages == nil || len(s.Packages.Broken) > 0 {
				return false
			}
			for _, name := range packages(s) {
				installed, _ := s.Packages.Get(name)
				if v, ok := installed.Upstream(); !ok || v != t.Version {
					return false
				}
			}
			return true
		},
		actions: func(s State) ([]Action, error) {
			for _, p := range packages(s) {
				installed, found := s.Packages.Get(p)
				if !found {
					return nil, t.cannot(name, KindNotInstalled, "the package "+p+" is not installed",
						"refit upgrades hosts whose "+p+" comes from a package; install it at the version that runs, then plan again")
				}
				if v, ok := installed.Upstream(); ok && newer(v, t.Version) {
					return nil, t.cannot(name, KindNewer, fmt.Sprintf("%s %s is installed, which is newer than %s", p, installed.Version, t.Version),
						"refit does not go back; plan with a version that is not older than the packages")
				}
			}
			if foreign := s.Packages.foreign(); len(foreign) > 0 {
				return nil, t.cannot(name, KindBroken, "packages that are not of Kubernetes are half installed: "+strings.Join(foreign, ", "),
					"look at dpkg --audit and mend them (dpkg --configure -a), then resume")
			}
			wanted, err := t.wanted(s, name, packages(s)...)
			if err != nil {
				return nil, err
			}
			command := managed(s).install(wanted, t.held(s), s)
			return []Action{t.action(name, command)}, nil
		},
	}
}

// images pulls the images that the role needs and the runtime does not have.
func (t Target) images() Step {
	return Step{
		Name: StepImages, Stage: Ahead, Changes: PartImages,
		Words: fmt.Sprintf("pull the images of %s", t.Version),
		done: func(s State) bool {
			missing, known := s.Images.missing(t.Role)
			return known && len(missing) == 0 && t.kubeadm().done(s)
		},
		actions: func(s State) ([]Action, error) {
			// Only kubeadm of the target's minor knows the tags of etcd, CoreDNS and pause.
			if t.Role.controlPlane() || s.Images == nil || !s.Images.CRICtl {
				argv := []string{"kubeadm", "config", "images", "pull", "--kubernetes-version=" + t.Version.String()}
				if t.ImageRepository != "" {
					argv = append(argv, "--image-repository="+t.ImageRepository)
				}
				if s.Kubelet != nil && s.Kubelet.CRI != "" {
					argv = append(argv, "--cri-socket="+s.Kubelet.CRI)
				}
				return []Action{t.action(StepImages, command{argv: argv})}, nil
			}
			// A worker needs a part of them only.
			images, cri := []string{t.imageRepository() + "/kube-proxy:" + t.Version.String()}, defaultCRI
			if missing, _ := s.Images.missing(t.Role); len(missing) > 0 {
				images = missing
			}
			if s.Kubelet != nil && s.Kubelet.CRI != "" {
				cri = s.Kubelet.CRI
			}
			var pulls []string
			for _, image := range images {
				pulls = append(pulls, shellLine(crictl(cri, "pull", image)))
			}
			return []Action{t.action(StepImages, command{argv: []string{shell, "-ec", strings.Join(pulls, "; ")}})}, nil
		},
	}
}

func (t Target) imageRepository() string {
	if t.ImageRepository != "" {
		return t.ImageRepository
	}
	return "registry.k8s.io" // kubeadm's default
}

// packages are the packages that move together: kubectl only where it is installed.
func (t Target) packages(s State) []string {
	names := []string{PackageKubeadm, PackageKubelet}
	if _, found := s.Packages.Get(PackageKubectl); found {
		names = append(names, PackageKubectl)
	}
	return names
}

// due are those of the packages that are not at the version.
func (t Target) due(s State) []string {
	return slices.DeleteFunc(t.packages(s), func(name string) bool {
		installed, _ := s.Packages.Get(name)
		v, ok := installed.Upstream()
		return ok && v == t.Version
	})
}

// wanted resolves the packages to the offers of exactly the target's version.
func (t Target) wanted(s State, step StepName, names ...string) ([]Offer, error) {
	var wanted []Offer
	for _, name := range names {
		o, found := Resolve(s, name, t.Version)
		if !found {
			return nil, t.versionMissing(s, step, name)
		}
		wanted = append(wanted, o)
	}
	return wanted, nil
}

// Resolve returns the offer of a package at exactly that version of Kubernetes: of
// what is configured, else of what the repository will have once it points at the
// version's minor.
func Resolve(s State, name string, version skew.Version) (Offer, bool) {
	if s.Offers == nil {
		return Offer{}, false
	}
	if o, found := pick(s.Offers.Configured, name, version); found {
		return o, true
	}
	return pick(s.Offers.Ahead, name, version)
}
