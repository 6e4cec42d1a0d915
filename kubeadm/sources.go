// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"slices"
	"strings"
)

// entry is one entry of a file of sources.
type entry struct {
	line    int
	text    string
	id      string
	uris    []string
	enabled bool
	exclude string
}

// repositories looks for the enabled entries that serve Kubernetes: those with an
// address of its repositories, and those from which offers come.
func (r *reader) repositories(ctx context.Context, manager Manager, offers []Offer) ([]Repository, error) {
	// The slash has find follow a directory that is a link.
	argv := []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/", "-maxdepth", "1", "(", "-name", "*.list", "-o", "-name", "*.sources", ")"}
	if manager == Dnf {
		argv = []string{"/etc/yum.repos.d/", "-maxdepth", "1", "-name", "*.repo"}
	}
	files, err := r.find(ctx, append(argv, "-xtype", "f", "-printf", `%y %p\n`)...)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(a[1:], b[1:]) })
	var all []Repository
	for _, file := range files {
		kind, path, _ := strings.Cut(file, " ")
		text, found, err := r.file(ctx, path)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		for _, found := range repositoriesIn(path, text, offers) {
			found.Linked = kind == "l"
			all = append(all, found)
		}
	}
	return all, nil
}

// repositoriesIn reads one file of sources, whose form its name tells.
func repositoriesIn(path, text string, offers []Offer) []Repository {
	var entries []entry
	switch {
	case strings.HasSuffix(path, ".list"):
		entries = parseList(text)
	case strings.HasSuffix(path, ".sources"):
		entries = parseDeb822(text)
	default:
		entries = parseRepo(text)
	}
	var all []Repository
	for _, e := range entries {
		if !e.enabled {
			continue
		}
		for _, uri := range e.uris {
			minor, known := minorOf(uri)
			if !known && !slices.ContainsFunc(offers, func(o Offer) bool { return o.serves(uri, e.id) }) {
				continue
			}
			all = append(all, Repository{
				File: path, Line: e.line, ID: e.id, URI: uri, Minor: minor, text: e.text,
				Excludes: slices.ContainsFunc(packageNames(), func(name string) bool { return excluded(e.exclude, name) }),
			})
			break // one entry is changed as a whole
		}
	}
	return all
}

// serves tells whether the offer is kubeadm out of the repository with that address,
// or of that ID where it has one.
func (o Offer) serves(uri, id string) bool {
	if o.Name != PackageKubeadm || o.Repository == "" {
		return false
	}
	if id != "" {
		return o.Repository == id
	}
	return strings.TrimRight(uri, "/") == strings.TrimRight(o.Repository, "/")
}

// excluded tells whether a list of dnf's exclude= takes in a package of that name.
func excluded(list, name string) bool {
	for _, pattern := range strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' }) {
		prefix, isPattern := strings.CutSuffix(pattern, "*")
		if pattern == name || isPattern && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// parseList reads the one-line form of sources.list(5):
// "deb [options] address suite components".
func parseList(text string) []entry {
	var entries []entry
	number := 0
	for line := range strings.Lines(text) {
		number++
		bare, _, _ := strings.Cut(line, "#")
		if _, rest, found := strings.Cut(bare, "["); found { // the options may hold spaces
			_, after, closed := strings.Cut(rest, "]")
			if !closed {
				continue
			}
			bare = bare[:len(bare)-len(rest)-1] + " " + after
		}
		if f := strings.Fields(bare); len(f) >= 3 && f[0] == "deb" {
			entries = append(entries, entry{line: number, text: strings.TrimRight(line, "\r\n"), uris: []string{f[1]}, enabled: true})
		}
	}
	return entries
}

// parseDeb822 reads the form of stanzas of sources.list(5).
func parseDeb822(text string) []entry {
	var entries []entry
	var e entry
	fields := map[string]string{}
	last := ""
	flush := func() {
		types, enabled := strings.Fields(fields["types"]), strings.ToLower(fields["enabled"])
		if e.line > 0 && slices.Contains(types, "deb") {
			e.uris = strings.Fields(fields["uris"])
			e.enabled = !slices.Contains([]string{"no", "false", "0", "off", "disable", "without"}, enabled)
			e.text = strings.TrimRight(e.text, "\n")
			entries = append(entries, e)
		}
		e, fields, last = entry{}, map[string]string{}, ""
	}
	number := 0
	for line := range strings.Lines(text) {
		number++
		if strings.TrimSpace(line) == "" {
			flush()
			continue
		}
		if e.line == 0 {
			e.line = number
		}
		e.text += line
		if strings.HasPrefix(line, "#") {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			fields[last] += " " + strings.TrimSpace(line)
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		last = strings.ToLower(strings.TrimSpace(name))
		fields[last] = strings.TrimSpace(value)
	}
	flush()
	return entries
}

// parseRepo reads the sections of a yum .repo file, see dnf.conf(5).
func parseRepo(text string) []entry {
	var entries []entry
	number := 0
	key := ""
	for line := range strings.Lines(text) {
		number++
		bare := strings.TrimSpace(line)
		if id, isHeading := strings.CutPrefix(bare, "["); isHeading {
			id, _, _ = strings.Cut(id, "]")
			entries = append(entries, entry{line: number, id: id, enabled: true})
			key = ""
		}
		if len(entries) == 0 {
			continue
		}
		e := &entries[len(entries)-1]
		e.text += line
		if bare == "" || strings.HasPrefix(bare, "#") || strings.HasPrefix(bare, ";") || strings.HasPrefix(bare, "[") {
			continue
		}
		value := bare
		if line[0] != ' ' && line[0] != '\t' { // else the value of the line before goes on
			var found bool
			if key, value, found = strings.Cut(bare, "="); !found {
				key = ""
				continue
			}
			key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		}
		switch key {
		case "baseurl":
			e.uris = append(e.uris, strings.FieldsFunc(value, func(c rune) bool { return c == ' ' || c == ',' || c == '\t' })...)
		case "enabled":
			e.enabled = value != "0" && !strings.EqualFold(value, "false") && !strings.EqualFold(value, "no")
		case "exclude", "excludepkgs":
			e.exclude += " " + value
		}
	}
	for i := range entries {
		entries[i].text = strings.TrimRight(entries[i].text, "\n")
	}
	return entries
}
