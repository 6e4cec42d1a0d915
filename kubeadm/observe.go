// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"refit.dev/refit/host"
	"refit.dev/refit/skew"
)

// Query says what to look at.
type Query struct {
	// Parts are the parts to look at; 0 means PartAll.
	Parts Parts
	// Version is the version that the host is to move to; zero if there is none yet.
	// With one, Offers.Ahead and Images.Wanted are looked at.
	Version skew.Version
	// ImageRepository is the cluster's (ClusterConfiguration.imageRepository); empty
	// means kubeadm's default.
	ImageRepository string
	// Kubelet is what is known of the kubelet from an earlier look, for its runtime's
	// endpoint; nil if nothing is. It is looked at first if it is needed and not here.
	Kubelet *Kubelet
}

// Observe looks at the host. It changes nothing; with a Version, apt's lists of the
// target's minor are fetched into a directory under /tmp that is removed again.
//
// The error is of the connection, or says which of the host's programs answered in a
// way that could not be understood. What cannot be looked at because an optional
// program is missing is in State.Gaps.
func Observe(ctx context.Context, m host.Machine, q Query) (State, error) {
	s := State{looked: q.Parts}
	if s.looked == 0 {
		s.looked = PartAll
	}
	if s.looked&PartHealth != 0 {
		s.looked |= PartPods // it is the manifests that say where to ask
	}
	r := &reader{m: m}
	if err := r.observe(ctx, &s, q); err != nil {
		return State{}, fmt.Errorf("look at the host: %w", err)
	}
	s.Gaps = r.gaps
	return s, nil
}

func (r *reader) observe(ctx context.Context, s *State, q Query) (err error) {
	if s.Manager, s.OS, err = r.manager(ctx); err != nil {
		return err
	}
	kubelet := q.Kubelet
	if s.looked&PartKubelet != 0 || kubelet == nil && s.looked&(PartRuntime|PartPods|PartImages) != 0 {
		if kubelet, err = r.kubelet(ctx); err != nil {
			return err
		}
		s.Kubelet = kubelet
		s.looked |= PartKubelet
	}
	cri := defaultCRI
	if kubelet != nil && kubelet.CRI != "" {
		cri = kubelet.CRI
	}
	// What automatic upgrades may touch depends on holds and repositories.
	if s.looked&PartAutomatic != 0 {
		s.looked |= PartPackages | PartRepositories
	}
	looks := []struct {
		part Parts
		look func() error
	}{
		{PartSystem, func() (err error) { s.System, err = r.system(ctx, s.Manager); return err }},
		{PartPackages, func() (err error) {
			if s.Manager == Dnf {
				s.Packages, err = r.dnfPackages(ctx)
			} else {
				s.Packages, err = r.aptPackages(ctx)
			}
			return err
		}},
		{PartRepositories, func() error { return r.offers(ctx, s, q.Version) }},
		{PartAutomatic, func() (err error) { s.Automatic, err = r.automatic(ctx, s); return err }},
		{PartDisks, func() (err error) { s.Disks, err = r.disks(ctx); return err }},
		{PartRuntime, func() (err error) { s.Runtime, err = r.runtime(ctx, cri); return err }},
		{PartPods, func() (err error) { s.Pods, err = r.pods(ctx, cri); return err }},
		{PartCertificates, func() (err error) { s.Certificates, err = r.certificates(ctx); return err }},
		{PartCopies, func() (err error) { s.Copies, err = r.copies(ctx); return err }},
		{PartImages, func() (err error) { s.Images, err = r.images(ctx, cri, q); return err }},
		{PartHealth, func() (err error) { s.Health, err = r.health(ctx, s.Pods); return err }},
	}
	for _, l := range looks {
		if s.looked&l.part == 0 {
			continue
		}
		if err := l.look(); err != nil {
			return err
		}
	}
	return nil
}

// manager finds out what installs packages here.
func (r *reader) manager(ctx context.Context) (Manager, string, error) {
	text, _, err := r.file(ctx, "/etc/os-release")
	if err != nil {
		return "", "", err
	}
	release := parseOSRelease(text)
	there, err := r.find(ctx, "/usr/bin/apt-get", "/usr/bin/dnf", "-maxdepth", "0")
	if err != nil {
		return "", "", err
	}
	apt, dnf := slices.Contains(there, "/usr/bin/apt-get"), slices.Contains(there, "/usr/bin/dnf")
	if apt && dnf { // each can be installed where the other one rules
		family := strings.Fields(release["ID"] + " " + release["ID_LIKE"])
		dnf = slices.Contains(family, "rhel") || slices.Contains(family, "fedora")
		apt = !dnf
	}
	name := release["PRETTY_NAME"]
	switch {
	case apt:
		return Apt, name, nil
	case dnf:
		return Dnf, name, nil
	}
	if name == "" {
		name = "the host"
	}
	return "", "", fmt.Errorf("%s has neither apt nor dnf: refit upgrades hosts whose packages come by one of them", name)
}

// parseOSRelease reads os-release(5).
func parseOSRelease(text string) map[string]string {
	release := map[string]string{}
	for _, line := range lines(text) {
		if name, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			release[name] = strings.Trim(value, `"'`)
		}
	}
	return release
}

// offers looks at the repositories and at what they have.
func (r *reader) offers(ctx context.Context, s *State, version skew.Version) (err error) {
	o := &Offers{}
	s.Offers = o
	if s.Manager == Apt {
		if o.Configured, err = r.madison(ctx); err != nil {
			return err
		}
		if s.Repositories, err = r.repositories(ctx, Apt, o.Configured); err != nil {
			return err
		}
	} else {
		if s.Repositories, err = r.repositories(ctx, Dnf, nil); err != nil {
			return err
		}
		for _, repository := range s.Repositories {
			found, err := r.dnfList(ctx, repository.ID)
			if err != nil {
				return err
			}
			o.Configured = append(o.Configured, found...)
		}
	}
	if version.IsZero() {
		return nil
	}
	repository, found := repositoryAt(s.Repositories, version.Minor)
	if !found || repository.Minor == version.Minor || repository.Minor == 0 {
		return nil
	}
	ask := r.aptAhead
	if s.Manager == Dnf {
		ask = r.dnfAhead
	}
	if o.Ahead, err = ask(ctx, repository, version.Minor); err != nil {
		if ctx.Err() != nil || host.Temporary(err) {
			return err
		}
		o.AheadError = err.Error()
	}
	return nil
}

// system looks at the boot, at whether one is due, and at the cgroups' version.
func (r *reader) system(ctx context.Context, manager Manager) (*System, error) {
	s := &System{}
	var err error
	if s.BootID, err = r.m.BootID(ctx); err != nil {
		return nil, fmt.Errorf("read the boot ID: %w", err)
	}
	if manager == Apt {
		for _, path := range []string{"/run/reboot-required", "/var/run/reboot-required"} {
			text, found, err := r.file(ctx, path)
			if err != nil {
				return nil, err
			}
			if !found {
				continue
			}
			packages, _, err := r.file(ctx, path+".pkgs")
			if err != nil {
				return nil, err
			}
			s.RebootRequired = strings.Join(append(lines(text), lines(packages)...), ", ")
			if s.RebootRequired == "" {
				s.RebootRequired = path
			}
			break
		}
	} else {
		result, err := r.run(ctx, "needs-restarting", "--reboothint")
		if err != nil {
			return nil, err
		}
		switch result.Code {
		case 0:
		case 1:
			s.RebootRequired = "needs-restarting --reboothint"
		default:
			r.gap("whether a reboot is due: needs-restarting (dnf-utils): %v", host.Succeed(result, nil))
		}
	}
	kind, err := r.text(ctx, "stat", "--file-system", "--format=%T", "/sys/fs/cgroup")
	if err != nil {
		return nil, err
	}
	s.CgroupV1 = strings.TrimSpace(kind) != "cgroup2fs"
	return s, nil
}

// runtime asks the container runtime for its name and version.
func (r *reader) runtime(ctx context.Context, cri string) (*Runtime, error) {
	t := &Runtime{Endpoint: cri}
	text, ok, err := r.first(ctx, "the container runtime's version", crictl(cri, "version"))
	if err != nil {
		return nil, err
	}
	if ok {
		for _, line := range lines(text) {
			switch name, value, _ := strings.Cut(line, ":"); name {
			case "RuntimeName":
				t.Name = strings.TrimSpace(value)
			case "RuntimeVersion":
				t.Version = strings.TrimSpace(value)
			}
		}
		return t, nil
	}
	if !strings.Contains(cri, "containerd") {
		return t, nil
	}
	text, ok, err = r.maybe(ctx, "the container runtime's version", "containerd", "--version")
	if f := strings.Fields(text); err == nil && ok && len(f) >= 3 { // containerd PACKAGE VERSION REVISION
		t.Name, t.Version = f[0], f[2]
	}
	return t, err
}
