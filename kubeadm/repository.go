// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Repository is one enabled entry of a file of the package manager that serves the
// packages of Kubernetes.
type Repository struct {
	// File is the file, Line the first line of the entry in it, from 1.
	File string `json:"file"`
	Line int    `json:"line"`
	// ID is the section of a yum .repo file.
	ID  string `json:"id,omitempty"`
	URI string `json:"uri"`
	// Minor is the minor of Kubernetes that the address names; 0 if it names none, as
	// with a mirror that has every version.
	Minor int `json:"minor,omitempty"`
	// Excludes tells that the entry hides the packages (exclude=, excludepkgs=) unless
	// dnf is told otherwise, as the documentation of kubeadm has it.
	Excludes bool `json:"excludes,omitempty"`
	// Linked tells that File is a link to another file.
	Linked bool `json:"linked,omitempty"`

	text string // the lines of the entry
}

// minorInURI finds the minor in an address such as
// https://pkgs.k8s.io/core:/stable:/v1.37/deb/, also as mirrors write it: with the
// colons encoded or left out. Other projects' repositories beside it, as
// https://pkgs.k8s.io/addons:/cri-o:/stable:/v1.37/deb/, are not of Kubernetes.
var minorInURI = regexp.MustCompile(`(core(?::|%3[aA])?/(?:stable|prerelease)(?::|%3[aA])?/v1\.)([1-9][0-9]{0,2})((?::/build|%3[aA]/build)?/(?:deb|rpm)(?:[/\s]|$))`)

// minorOf returns the minor that an address names, and whether it is one of the
// repositories of Kubernetes.
func minorOf(uri string) (int, bool) {
	m := minorInURI.FindStringSubmatch(uri)
	if m == nil {
		return 0, false
	}
	minor, err := strconv.Atoi(m[2])
	return minor, err == nil
}

// atMinor returns text with the minor of every address of Kubernetes set; lines that
// are comments stay.
func atMinor(text string, minor int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if bare := strings.TrimSpace(line); strings.HasPrefix(bare, "#") || strings.HasPrefix(bare, ";") {
			b.WriteString(line)
			continue
		}
		b.WriteString(minorInURI.ReplaceAllStringFunc(line, func(address string) string {
			m := minorInURI.FindStringSubmatch(address)
			return m[1] + strconv.Itoa(minor) + m[3]
		}))
	}
	return b.String()
}

// named is an error for a repository whose address names no minor, and so cannot be pointed
// at one.
func (r Repository) named() error {
	if r.Minor == 0 {
		return fmt.Errorf("the address %s of %s names no minor of Kubernetes", r.URI, r.File)
	}
	return nil
}

// alone is the entry at minor as the whole content of a file of its own.
func (r Repository) alone(minor int) (string, error) {
	if err := r.named(); err != nil {
		return "", err
	}
	return strings.TrimRight(atMinor(r.text, minor), "\n") + "\n", nil
}

// ending is the ending of the file's name: list, sources or repo.
func (r Repository) ending() string {
	return r.File[strings.LastIndexByte(r.File, '.')+1:]
}

// pointAt returns the content of the repository's file with the minor of this one
// entry changed; all else is kept byte for byte. It is an error if the entry is not
// in content as it was when it was looked at.
func (r Repository) pointAt(content string, minor int) (string, error) {
	if err := r.named(); err != nil {
		return "", err
	}
	before, at := "", 1
	rest := content
	for at < r.Line {
		line, tail, found := strings.Cut(rest, "\n")
		if !found {
			break
		}
		before, rest, at = before+line+"\n", tail, at+1
	}
	if at != r.Line || !strings.HasPrefix(rest, r.text) {
		return "", fmt.Errorf("%s was changed by somebody else since it was looked at", r.File)
	}
	return before + atMinor(r.text, minor) + rest[len(r.text):], nil
}

// repositoryAt returns the repository that serves, or can be pointed at, minor: one
// that is at it already, else one whose address names no minor, else the one that is
// nearest to it from below, else the nearest from above.
func repositoryAt(all []Repository, minor int) (Repository, bool) {
	var best Repository
	rank := func(r Repository) int {
		switch {
		case r.Minor == minor:
			return 4000
		case r.Minor == 0:
			return 3000
		case r.Minor < minor:
			return 2000 + r.Minor - minor
		}
		return 1000 + minor - r.Minor
	}
	for _, r := range all {
		if best.File == "" || rank(r) > rank(best) {
			best = r
		}
	}
	return best, best.File != ""
}
