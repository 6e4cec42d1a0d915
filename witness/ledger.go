// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// change is one event of a watch.
type change struct {
	revision uint64
	seen     time.Time // when it arrived, by the clock of the witness
	verb     watch.EventType
	object   metav1.Object
}

// ledger is the history of one kind of object, from a list on. Nothing enters
// it that does not fit what it holds.
type ledger struct {
	kind    string
	start   uint64          // revision of the list
	initial []metav1.Object // what the list held
	changes []change
	last    uint64 // the newest revision that is known to be in the history
}

func newLedger(kind string, start uint64, initial []metav1.Object) *ledger {
	return &ledger{kind: kind, start: start, initial: initial, last: start}
}

// add appends c. Its revision must be newer than all before it.
func (l *ledger) add(c change) error {
	if c.revision <= l.last {
		return fmt.Errorf("the change of %s at revision %d came after revision %d", name(c.object), c.revision, l.last)
	}
	l.changes = append(l.changes, c)
	l.last = c.revision
	return nil
}

// at plays the history up to and including revision and returns the revision
// of each object that exists then. It is an error if a change does not fit the
// one before it: then something between them is missing.
func (l *ledger) at(revision uint64) (map[types.UID]uint64, error) {
	live := map[types.UID]uint64{}
	for _, o := range l.initial {
		rv, err := revisionOf(o)
		if err != nil {
			return nil, err
		}
		live[o.GetUID()] = rv
	}
	for _, c := range l.changes {
		if c.revision > revision {
			break
		}
		_, known := live[c.object.GetUID()]
		if known != (c.verb != watch.Added) {
			return nil, fmt.Errorf("%s: %s is %s at revision %d, which does not fit what was seen before",
				l.kind, name(c.object), c.verb, c.revision)
		}
		if c.verb == watch.Deleted {
			delete(live, c.object.GetUID())
		} else {
			live[c.object.GetUID()] = c.revision
		}
	}
	return live, nil
}

// compare checks the history against the objects that a list returned at revision.
func (l *ledger) compare(revision uint64, listed []metav1.Object) error {
	live, err := l.at(revision)
	if err != nil {
		return err
	}
	want := map[types.UID]uint64{}
	for _, o := range listed {
		rv, err := revisionOf(o)
		if err != nil {
			return err
		}
		want[o.GetUID()] = rv
		if live[o.GetUID()] != rv {
			return fmt.Errorf("%s: %s is at revision %d, the last change of it that was seen is of revision %d: a change was missed",
				l.kind, name(o), rv, live[o.GetUID()])
		}
	}
	if !maps.Equal(live, want) {
		return fmt.Errorf("%s: %d objects exist at revision %d, the changes seen leave %d: a deletion was missed",
			l.kind, len(want), revision, len(live))
	}
	return nil
}

// merge brings the changes of all ledgers up to revision into their one order.
// The lists were made one after the other; began is the revision from which on
// all of them are known, so that a verdict can begin there.
func merge(ledgers []*ledger, revision uint64) (changes []change, began uint64) {
	for _, l := range ledgers {
		began = max(began, l.start)
		for _, c := range l.changes {
			if c.revision <= revision {
				changes = append(changes, c)
			}
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.revision, b.revision) })
	return changes, began
}

// revisionOf reads an object's resource version as the number that it is:
// since Kubernetes 1.35 (KEP-5504) clients may compare them.
func revisionOf(o metav1.Object) (uint64, error) {
	return parseRevision(name(o), o.GetResourceVersion())
}

func parseRevision(what, s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s: resource version %q is not a number", what, s)
	}
	return n, nil
}

func name(o metav1.Object) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}
