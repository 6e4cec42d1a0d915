// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"refit.dev/refit/host"
)

// dnfLocked lists what dnf's versionlock plugin keeps at its version.
const dnfLocked = "/etc/dnf/plugins/versionlock.list"

// dnfPackages looks at what rpm has.
func (r *reader) dnfPackages(ctx context.Context) (*Packages, error) {
	const format = `%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n`
	// The status counts the packages that are not installed, which a line says too.
	result, err := r.run(ctx, append([]string{"rpm", "--query", "--queryformat", format}, packageNames()...)...)
	if err != nil {
		return nil, err
	}
	p := &Packages{}
	p.Installed, p.Doubles = parseRPM(string(result.Stdout))
	for _, double := range p.Doubles {
		p.Broken = append(p.Broken, double.Name)
	}
	p.Broken = slices.Compact(p.Broken)
	locked, _, err := r.file(ctx, dnfLocked)
	if err != nil {
		return nil, err
	}
	for i := range p.Installed {
		p.Installed[i].Held = slices.Contains(parseVersionlock(locked), p.Installed[i].Name)
	}
	files, err := r.find(ctx, "/var/cache/dnf", "-type", "f", "-name", "*.rpm", "-size", "+0", "-printf", `%f\n`)
	if err != nil {
		return nil, err
	}
	p.Downloaded = ofKubernetes(files, "-")
	p.Lock, err = r.lock(ctx, "/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock")
	return p, err
}

// parseRPM reads lines of name, epoch:version-release and architecture, separated by
// tabs. A package that is there twice is what an interrupted transaction leaves: the
// older one is taken for installed, all others are doubles.
func parseRPM(text string) (installed, doubles []Package) {
	for _, line := range lines(text) {
		f := strings.Split(line, "\t")
		if len(f) != 3 || !slices.Contains(packageNames(), f[0]) || f[1] == "" {
			continue
		}
		p := Package{Name: f[0], Version: strings.TrimPrefix(f[1], "0:"), Arch: f[2]}
		i := slices.IndexFunc(installed, func(other Package) bool { return other.Name == p.Name })
		if i < 0 {
			installed = append(installed, p)
			continue
		}
		if compareRevisions(p.Version, installed[i].Version) < 0 {
			p, installed[i] = installed[i], p
		}
		doubles = append(doubles, p)
	}
	return inOrder(installed), inOrder(doubles)
}

// parseVersionlock reads versionlock.list: "kubeadm-0:1.36.3-150500.1.1.*" a line.
// Lines that begin with ! exclude a version; a pattern for all versions locks none.
func parseVersionlock(text string) []string {
	var names []string
	for _, line := range lines(text) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "!") {
			continue
		}
		for _, name := range packageNames() {
			rest, found := strings.CutPrefix(line, name+"-")
			if found && rest != "" && strings.IndexByte("0123456789", rest[0]) >= 0 && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// parseDnfList reads dnf list --showduplicates: a heading for what is installed and
// one for what is available, and "name.arch  version  repository" lines.
func parseDnfList(text string) []Offer {
	var all []Offer
	installed := false
	for _, line := range lines(text) {
		switch strings.ToLower(line) {
		case "installed packages":
			installed = true
			continue
		case "available packages":
			installed = false
			continue
		}
		f := strings.Fields(line)
		if installed || len(f) != 3 {
			continue
		}
		name, _, _ := strings.Cut(f[0], ".")
		if slices.Contains(packageNames(), name) {
			all = append(all, Offer{Name: name, Version: strings.TrimPrefix(f[1], "0:"), Repository: f[2]})
		}
	}
	// dnf lists the oldest first.
	slices.SortStableFunc(all, func(a, b Offer) int {
		if c := slices.Index(packageNames(), a.Name) - slices.Index(packageNames(), b.Name); c != 0 {
			return c
		}
		return compareRevisions(b.Version, a.Version)
	})
	return all
}

// dnfList asks dnf which versions one repository has.
func (r *reader) dnfList(ctx context.Context, id string, options ...string) ([]Offer, error) {
	argv := append([]string{"dnf", "--quiet"}, options...)
	argv = append(argv, "--repo="+id, "--disableexcludes=all", "list", "--showduplicates")
	result, err := r.run(ctx, append(argv, packageNames()...)...)
	if err != nil {
		return nil, err
	}
	if result.Code != 0 && !strings.Contains(string(result.Stderr), "No matching Packages") {
		return nil, fmt.Errorf("run dnf list: %w", host.Succeed(result, nil))
	}
	return parseDnfList(string(result.Stdout)), nil
}

// dnfAhead asks what the repository offers once it points at minor, in a directory of
// its own: neither the host's repositories nor dnf's cache, which lasts for days, are used.
func (r *reader) dnfAhead(ctx context.Context, repository Repository, minor int) (offers []Offer, err error) {
	source, err := repository.alone(minor)
	if err != nil {
		return nil, err
	}
	err = r.scratch(ctx, "dnf", func(dir string) error {
		file := dir + "/refit." + repository.ending()
		// There may be a password in it, as in the file that it comes from.
		if err := r.m.WriteFile(ctx, file, []byte(source), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
		offers, err = r.dnfList(ctx, repository.ID, "--setopt=reposdir="+dir, "--setopt=cachedir="+dir+"/cache")
		return err
	})
	return offers, err
}
