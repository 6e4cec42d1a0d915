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

const aptArchives = "/var/cache/apt/archives"

// aptLocks are the lock files of apt and dpkg, taken in this order.
func aptLocks() []string {
	return []string{"/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", aptArchives + "/lock", "/var/lib/apt/lists/lock"}
}

// aptPackages looks at what dpkg has.
func (r *reader) aptPackages(ctx context.Context) (*Packages, error) {
	const format = `${Package}\t${Version}\t${Architecture}\t${db:Status-Want}\t${db:Status-Status}\n`
	result, err := r.run(ctx, append([]string{"dpkg-query", "--show", "--showformat=" + format}, packageNames()...)...)
	if err != nil {
		return nil, err
	}
	if result.Code > 1 { // 1: one of them is not known to dpkg
		return nil, fmt.Errorf("run dpkg-query: %w", host.Succeed(result, nil))
	}
	p := &Packages{Installed: parseDpkg(string(result.Stdout))}

	audit, err := r.run(ctx, "dpkg", "--audit")
	if err != nil {
		return nil, err
	}
	if p.Broken = parseAudit(string(audit.Stdout)); len(p.Broken) == 0 && audit.Code > 1 {
		return nil, fmt.Errorf("run dpkg --audit: %w", host.Succeed(audit, nil))
	}
	// dpkg keeps notes of what it has not written to its database yet; see dpkg(1),
	// --configure --pending.
	notes, err := r.find(ctx, "/var/lib/dpkg/updates", "-maxdepth", "1", "-type", "f", "-name", "[0-9]*")
	if err != nil {
		return nil, err
	}
	p.Interrupted = len(notes) > 0
	if p.Downloaded, err = r.find(ctx, aptArchives, "-maxdepth", "1", "-type", "f", "-name", "*.deb", "-size", "+0", "-printf", `%f\n`); err != nil {
		return nil, err
	}
	p.Downloaded = ofKubernetes(p.Downloaded, "_")
	p.Lock, err = r.lock(ctx, aptLocks()...)
	return p, err
}

// ofKubernetes keeps the file names that begin with a package's name and sep, sorted.
func ofKubernetes(files []string, sep string) []string {
	files = slices.DeleteFunc(files, func(file string) bool {
		return !slices.ContainsFunc(packageNames(), func(name string) bool { return strings.HasPrefix(file, name+sep) })
	})
	slices.Sort(files)
	return files
}

// parseDpkg reads lines of package, version, architecture, wanted and status,
// separated by tabs. Packages of which only the configuration is left are not
// installed.
func parseDpkg(text string) []Package {
	var all []Package
	for _, line := range lines(text) {
		f := strings.Split(line, "\t")
		if len(f) != 5 || !slices.Contains(packageNames(), f[0]) || f[1] == "" {
			continue
		}
		if f[4] == "not-installed" || f[4] == "config-files" {
			continue
		}
		all = append(all, Package{Name: f[0], Version: f[1], Arch: f[2], Held: f[3] == "hold"})
	}
	return inOrder(all)
}

// inOrder sorts packages as they are told.
func inOrder(all []Package) []Package {
	slices.SortStableFunc(all, func(a, b Package) int {
		return slices.Index(packageNames(), a.Name) - slices.Index(packageNames(), b.Name)
	})
	return all
}

// parseAudit reads dpkg --audit: paragraphs of prose, and a line " name  description"
// for each package that is in a bad state.
func parseAudit(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, " ") {
			continue
		}
		if f := strings.Fields(line); len(f) > 0 && !slices.Contains(names, f[0]) {
			names = append(names, f[0])
		}
	}
	slices.Sort(names)
	return names
}

// parseMadison reads apt-cache madison: "name | version | repository" lines, newest
// first.
func parseMadison(text string) []Offer {
	var all []Offer
	for _, line := range lines(text) {
		f := strings.Split(line, "|")
		if len(f) != 3 {
			continue
		}
		o := Offer{Name: strings.TrimSpace(f[0]), Version: strings.TrimSpace(f[1]), Repository: strings.TrimSpace(f[2])}
		repository, isPackages := strings.CutSuffix(o.Repository, " Packages")
		if !isPackages || !slices.Contains(packageNames(), o.Name) || o.Version == "" { // sources are listed too
			continue
		}
		// What follows the address is the suite, its component and the architecture.
		o.Repository, _, _ = strings.Cut(repository, " ")
		all = append(all, o)
	}
	return all
}

// madison asks apt which versions there are, with options before the verb.
func (r *reader) madison(ctx context.Context, options ...string) ([]Offer, error) {
	argv := append([]string{"apt-cache"}, options...)
	text, err := r.text(ctx, append(append(argv, "madison"), packageNames()...)...)
	if err != nil {
		return nil, err
	}
	return parseMadison(text), nil
}

// aptAhead asks what the repository offers once it points at minor, in a directory of
// its own: neither the host's sources nor its lists are touched.
func (r *reader) aptAhead(ctx context.Context, repository Repository, minor int) (offers []Offer, err error) {
	source, err := repository.alone(minor)
	if err != nil {
		return nil, err
	}
	err = r.scratch(ctx, "apt", func(dir string) error {
		// apt makes neither of these where it is told to look for them.
		if _, err := r.text(ctx, "mkdir", "--parents", dir+"/lists/partial", dir+"/cache/archives/partial"); err != nil {
			return err
		}
		// apt downloads as a user of its own, who has to get in.
		if _, err := r.text(ctx, "chmod", "0755", dir); err != nil {
			return err
		}
		list := dir + "/refit." + repository.ending()
		if err := r.m.WriteFile(ctx, list, []byte(source), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", list, err)
		}
		options := []string{
			"--option=Dir::Etc::SourceList=" + list, "--option=Dir::Etc::SourceParts=-",
			"--option=Dir::State::Lists=" + dir + "/lists", "--option=Dir::Cache=" + dir + "/cache",
		}
		if _, err := r.text(ctx, append(append([]string{"apt-get"}, options...), "--option=APT::Update::Error-Mode=any", "update")...); err != nil {
			return err
		}
		offers, err = r.madison(ctx, options...)
		return err
	})
	return offers, err
}
