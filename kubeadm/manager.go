// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"slices"
	"strings"
)

// command is a command with its environment.
type command struct {
	argv []string
	env  []string
}

// manager builds the commands of a package manager.
type manager interface {
	// refresh fetches the lists of the one repository.
	refresh(r Repository) command
	// download gets packages into the cache, whether they are held or not.
	download(packages []Offer, s State) command
	// install installs packages, and sees to it that what is held ends up held, also
	// when the installation fails.
	install(packages []Offer, held []string, s State) command
	// hold keeps packages at their versions.
	hold(names []string) command
	// file is how the name of a package's file in the cache begins.
	file(o Offer) string
}

func managed(s State) manager {
	if s.Manager == Dnf {
		return dnf{}
	}
	return apt{}
}

// apt is apt and dpkg.
type apt struct{}

// aptEnv keeps apt from asking, from showing news, and needrestart (Ubuntu's default)
// from restarting services: what is restarted, and when, is refit's to decide.
func aptEnv() []string {
	return []string{"DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_SUSPEND=1"}
}

// lockWait is for how long apt waits for dpkg's lock, in seconds: unattended-upgrades
// holds it for minutes at a time.
const lockWait = "300"

func (apt) get(verb string, argv ...string) command {
	return command{env: aptEnv(), argv: append([]string{"apt-get", "--quiet", "--yes", "--option=DPkg::Lock::Timeout=" + lockWait, "--option=Dpkg::Use-Pty=0", verb}, argv...)}
}

func (a apt) refresh(r Repository) command {
	return a.get("update", "--option=APT::Update::Error-Mode=any", "--option=Dir::Etc::SourceList="+r.File, "--option=Dir::Etc::SourceParts=-", "--option=APT::Get::List-Cleanup=false")
}

func (a apt) download(packages []Offer, _ State) command {
	// Nothing is installed, so that holds are not at stake; without the option apt
	// refuses to download what is held.
	return a.get("install", append([]string{"--download-only", "--allow-change-held-packages", "--no-remove"}, pinned(packages, "=")...)...)
}

func (a apt) install(packages []Offer, held []string, s State) command {
	install := a.get("install", append([]string{
		"--no-remove", "--option=Dpkg::Options::=--force-confdef", "--option=Dpkg::Options::=--force-confold",
	}, pinned(packages, "=")...)...)
	between := [][]string{install.argv}
	if s.Packages.interrupted() { // apt refuses to work before this
		between = [][]string{{"dpkg", "--configure", "--pending", "--force-confdef", "--force-confold"}, install.argv}
	}
	unhold := concerned(packages, held, s)
	if len(unhold) == 0 && len(between) == 1 {
		return install
	}
	return command{env: install.env, argv: guarded(prefix([]string{"apt-mark", "unhold"}, unhold), prefix([]string{"apt-mark", "hold"}, unhold), between...)}
}

func (apt) hold(names []string) command {
	return command{argv: append([]string{"apt-mark", "hold"}, names...)}
}

func (apt) file(o Offer) string {
	return o.Name + "_" + strings.ReplaceAll(o.Version, ":", "%3a") + "_"
}

// dnf is dnf 4 and rpm.
type dnf struct{}

// keepcache keeps what was downloaded ahead when another package is installed.
func (dnf) run(verb string, argv ...string) command {
	return command{argv: append([]string{"dnf", "--assumeyes", "--setopt=keepcache=True", verb}, argv...)}
}

func (d dnf) refresh(r Repository) command {
	return d.run("makecache", "--refresh", "--repo="+r.ID)
}

func (d dnf) download(packages []Offer, s State) command {
	return d.run("install", append(append([]string{"--downloadonly", "--disableplugin=versionlock"}, shown(packages, s)...), pinned(packages, "-")...)...)
}

func (d dnf) install(packages []Offer, held []string, s State) command {
	var forgotten, again []string
	moving := packages
	// rpm writes the new package down before it runs its scripts, and forgets the old one last. A
	// transaction that ended in between is one that dnf takes for done.
	for _, p := range s.Packages.doubles() {
		if slices.Contains(names(packages), p.Name) {
			// The new one is forgotten, and comes as an upgrade once more. Its files stay as they are until
			// then; if that is the end, the old one is what is installed, and the step is not done.
			forgotten = append(forgotten, p.Name+"-"+p.Version+"."+p.Arch)
			continue
		}
		// Nothing would tell that one that was forgotten is missing: it is installed once more, for
		// which dnf removes the old one in the same transaction. Until its end there are two.
		again = append(again, p.Name+"-"+p.Version)
		moving = append(slices.Clone(moving), Offer{Name: p.Name, Version: p.Version})
	}
	install := d.run("install", append(shown(packages, s), pinned(packages, "-")...)...)
	unhold := concerned(moving, held, s)
	if len(unhold) == 0 && len(forgotten)+len(again) == 0 {
		return install
	}
	var between [][]string
	if len(forgotten) > 0 {
		between = append(between, append([]string{"rpm", "--erase", "--justdb", "--nodeps", "--noscripts", "--notriggers"}, forgotten...))
	}
	if len(again) > 0 {
		between = append(between, d.run("reinstall", append(shown(packages, s), again...)...).argv)
	}
	return command{env: install.env, argv: guarded(d.lock("delete", unhold), d.lock("add", unhold), append(between, install.argv)...)}
}

func (d dnf) hold(names []string) command { return command{argv: d.lock("add", names)} }

// lock changes what versionlock keeps; nil for no names. It asks for the installed packages
// only: without the option dnf would load every repository of the host for it, and fail if one does not
// answer.
func (dnf) lock(verb string, names []string) []string {
	return prefix([]string{"dnf", "--quiet", "--disablerepo=*", "versionlock", verb}, names)
}

func (dnf) file(o Offer) string { return o.Name + "-" + o.Version + "." }

// shown are the options that make dnf see packages that repositories exclude.
func shown(packages []Offer, s State) []string {
	var options []string
	for _, r := range s.Repositories {
		option := "--disableexcludes=" + r.ID
		if r.Excludes && !slices.Contains(options, option) {
			options = append(options, option)
		}
	}
	if len(options) == 0 && len(packages) > 0 && packages[0].Repository != "" {
		options = []string{"--disableexcludes=" + packages[0].Repository}
	}
	return options
}

// pinned are the packages as arguments: name, sep, version.
func pinned(packages []Offer, sep string) []string {
	var argv []string
	for _, o := range packages {
		argv = append(argv, o.Name+sep+o.Version)
	}
	return argv
}

func names(packages []Offer) []string {
	var all []string
	for _, o := range packages {
		all = append(all, o.Name)
	}
	return all
}

// concerned are the packages whose hold would stand in the way: those that are to be
// installed, and the tools that they may need in a newer version.
func concerned(packages []Offer, held []string, s State) []string {
	now := s.Packages.Held()
	var all []string
	for _, name := range packageNames() {
		moves := slices.Contains(names(packages), name) || name == PackageCRITools || name == PackageCNI
		if moves && (slices.Contains(held, name) || slices.Contains(now, name)) {
			all = append(all, name)
		}
	}
	return all
}

func prefix(argv, rest []string) []string {
	if len(rest) == 0 {
		return nil
	}
	return append(slices.Clone(argv), rest...)
}

// guarded is one command that runs first, the commands in between as long as they
// succeed, and then, whatever happened, last; its status is that of the commands in
// between. A request to end (SIGTERM) ends the command that runs and not the shell, so
// that last still comes.
func guarded(first, last []string, between ...[]string) []string {
	var parts []string
	for _, argv := range append([][]string{first}, between...) {
		if len(argv) > 0 {
			parts = append(parts, shellLine(argv))
		}
	}
	script := strings.Join(parts, " && ")
	if len(last) > 0 {
		script = "trap : TERM INT HUP; " + script + "; status=$?; " + shellLine(last) + "; exit $status"
	}
	return []string{shell, "-c", script}
}

// action makes the command of a step a unit.
func (t Target) action(step StepName, c command) Action {
	return Action{Unit: t.unit(step), Argv: c.argv, Env: c.env}
}
