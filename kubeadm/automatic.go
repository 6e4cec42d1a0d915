// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"regexp"
	"slices"
	"strings"
)

// automatic looks at what upgrades packages on its own, and whether it may upgrade
// those of Kubernetes: a kubelet that moves by itself skips the drain, and may become
// newer than its API server.
func (r *reader) automatic(ctx context.Context, s *State) (*Automatic, error) {
	if s.Manager == Dnf {
		return r.dnfAutomatic(ctx, s)
	}
	there, err := r.find(ctx, "/usr/bin/unattended-upgrade", "-maxdepth", "0")
	if err != nil || len(there) == 0 {
		return &Automatic{}, err
	}
	a := &Automatic{Name: "unattended-upgrades"}
	text, err := r.text(ctx, "apt-config", "dump")
	if err != nil {
		return nil, err
	}
	config := parseAptConfig(text)
	timer, err := r.active(ctx, "apt-daily-upgrade.timer")
	if err != nil {
		return nil, err
	}
	interval := last(config["apt::periodic::unattended-upgrade"])
	enabled := last(config["apt::periodic::enable"])
	a.Active = timer && interval != "" && interval != "0" && enabled != "0"
	if a.Active && reachesKubernetes(config) {
		a.Touches = loose(s.Packages, func(name string) bool {
			return slices.ContainsFunc(config["unattended-upgrade::package-blacklist"], func(pattern string) bool { return matchesStart(pattern, name) })
		})
	}
	return a, nil
}

// parseAptConfig reads apt-config dump: `Name "value";`, lists as `Name:: "value";`.
// Names do not tell case apart.
func parseAptConfig(text string) map[string][]string {
	config := map[string][]string{}
	for _, line := range lines(text) {
		name, value, found := strings.Cut(line, " ")
		value, closed := strings.CutSuffix(value, `";`)
		value, opened := strings.CutPrefix(value, `"`)
		if !found || !closed || !opened || value == "" { // a list begins with a line without a value
			continue
		}
		name = strings.ToLower(strings.TrimSuffix(name, "::"))
		config[name] = append(config[name], value)
	}
	return config
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// reachesKubernetes tells whether one of unattended-upgrades' patterns can match the
// repositories of Kubernetes, whose origin is
// obs://build.opensuse.org/isv:kubernetes:core:stable:v1.37/deb and which have no
// suite, or its mirrors, of which nothing is known but that they are not Debian's.
func reachesKubernetes(config map[string][]string) bool {
	var patterns []string
	patterns = append(patterns, config["unattended-upgrade::origins-pattern"]...)
	patterns = append(patterns, config["unattended-upgrade::allowed-origins"]...)
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		pattern = strings.ToLower(pattern)
		if strings.Contains(pattern, "kubernetes") || strings.Contains(pattern, "k8s") {
			return true
		}
		for part := range strings.SplitSeq(pattern, ",") {
			key, value, keyed := strings.Cut(strings.TrimSpace(part), "=")
			if !keyed { // origin:suite
				value, _, _ = strings.Cut(key, ":")
				key = "origin"
			}
			if strings.Trim(value, "*") != "" || !slices.Contains([]string{"o", "origin", "site", "l", "label", "a", "archive", "suite"}, key) {
				return false // it names something, which is not Kubernetes
			}
		}
		return true
	})
}

// matchesStart tells whether a pattern of a blacklist matches a package's name, as
// Python's re.match does: from its start.
func matchesStart(pattern, name string) bool {
	p, err := regexp.Compile(`^(?:` + pattern + `)`)
	return err == nil && p.MatchString(name)
}

// loose returns the installed packages of Kubernetes that are neither held nor spared.
func loose(p *Packages, spared func(name string) bool) []string {
	var names []string
	if p != nil {
		for _, installed := range p.Installed {
			if !installed.Held && !spared(installed.Name) {
				names = append(names, installed.Name)
			}
		}
	}
	return names
}

func (r *reader) dnfAutomatic(ctx context.Context, s *State) (*Automatic, error) {
	a := &Automatic{}
	for _, timer := range []string{"dnf-automatic.timer", "dnf-automatic-install.timer"} {
		active, err := r.active(ctx, timer)
		if err != nil {
			return nil, err
		}
		if !active {
			continue
		}
		text, _, err := r.file(ctx, "/etc/dnf/automatic.conf")
		if err != nil {
			return nil, err
		}
		a.Name = "dnf-automatic"
		a.Active = a.Active || timer == "dnf-automatic-install.timer" || appliesUpdates(text)
	}
	hidden := len(s.Repositories) > 0 && !slices.ContainsFunc(s.Repositories, func(r Repository) bool { return !r.Excludes })
	if a.Active && !hidden {
		a.Touches = loose(s.Packages, func(string) bool { return false })
	}
	return a, nil
}

// appliesUpdates reads apply_updates of dnf's automatic.conf.
func appliesUpdates(text string) bool {
	for _, line := range lines(text) {
		key, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(key) == "apply_updates" {
			return slices.Contains([]string{"yes", "true", "1"}, strings.ToLower(strings.TrimSpace(value)))
		}
	}
	return false
}

// active tells whether a unit of systemd is active.
func (r *reader) active(ctx context.Context, unit string) (bool, error) {
	result, err := r.run(ctx, "systemctl", "is-active", "--quiet", "--", unit)
	return err == nil && result.Code == 0, err
}
