// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"slices"
	"strings"

	"refit.dev/refit/manifest"
)

// Object is one object as it is written.
type Object struct {
	Key manifest.Key
	// Path is where its file goes, with slashes.
	Path string
	// Text is its YAML.
	Text []byte
	// Stamp changes whenever the object does; it tells nothing of what is in it.
	Stamp string
	// Secret: what is in it is not for everybody.
	Secret bool

	uid string
	// endpoints: it is left out if the Service of its name has a selector.
	endpoints bool
	// resource is the resource that it was read from, as kubectl calls it.
	resource string
}

// Unread is a resource of which nothing could be read.
type Unread struct {
	Resource string `json:"resource"`
	Why      string `json:"why"`
}

// Cut is what a cluster held at one resource version.
type Cut struct {
	// ResourceVersion is that of everything but Torn.
	ResourceVersion string
	// Cluster tells clusters apart: the UID of the namespace kube-system, "" if that may not be read.
	Cluster string
	// Namespaces are the UIDs of those that the Selection names and that may be read, by name.
	Namespaces map[string]string
	// Server is where the cluster was asked, see served.API: of two with another one nobody can tell whether they are of the same cluster.
	Server string
	// Objects are sorted by path.
	Objects []Object
	// LeftOut counts the objects that were left out, by reason.
	LeftOut map[manifest.Reason]int
	// Unread are resources, or versions of whole groups, that could not be read.
	Unread []Unread
	// Torn are resources that could not be read at that version, and are of a later moment.
	Torn []string
	// Unfit are resources that are not exported, because they cannot be listed or made.
	Unfit []string
	// unread are the directories below a namespace's, kind.group, of what could not be read; *.group for a whole group.
	unread []string
}

// lacking are the names of Unread.
func (c *Cut) lacking() (names []string) {
	for _, u := range c.Unread {
		names = append(names, u.Resource)
	}
	return names
}

// settle puts what was read in parallel into its order, and takes out what only the whole tells about.
func (c *Cut) settle(found *found) {
	leaving := func(o *Object) bool {
		of := o.Key.Namespace
		return of != "" && found.leaving[of]
	}
	seen, unread := map[string]bool{}, map[string]bool{}
	for _, u := range c.Unread {
		unread[u.Resource] = true
	}
	slices.SortFunc(found.objects, func(a, b Object) int { return strings.Compare(a.Path, b.Path) })
	for i := range found.objects {
		o := &found.objects[i]
		switch {
		case unread[o.resource]: // its first pages came, and then no more
		case leaving(o):
			c.LeftOut[manifest.Leaving]++
		case o.endpoints && found.selecting[o.Key.Namespace+"/"+o.Key.Name]:
			c.LeftOut[manifest.ServerMade]++
		case seen[o.uid]: // of another group that serves the same objects
		default:
			seen[o.uid] = true
			c.Objects = append(c.Objects, *o)
		}
	}
	slices.SortFunc(c.Unread, func(a, b Unread) int { return strings.Compare(a.Resource, b.Resource) })
	slices.Sort(c.Torn)
	slices.Sort(c.unread)
}
