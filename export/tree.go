// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/vault/seal"
)

// sealedEnd comes after the names of encrypted files.
const sealedEnd = ".age"

// Options say how a Cut is written.
type Options struct {
	// Selection is what the Cut was taken of. A directory that holds an export of another
	// Selection, or of another cluster, is refused, unless Reselect: files would go whose objects are still there.
	Selection Selection
	Reselect  bool
	// Recipients encrypt Secrets; wanted with SecretsEncrypt.
	Recipients seal.Recipients
}

// Written counts what became of the files of a directory.
type Written struct {
	New       int `json:"new"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
	Removed   int `json:"removed"`
	// Kept are files of resources that could not be read this time.
	Kept int `json:"kept"`
}

// ErrDirectory is what the error is when the directory cannot take the export as it is; nothing was changed then.
var ErrDirectory = errors.New("the directory does not fit")

type directoryError struct{ error }

func (e directoryError) Unwrap() error        { return e.error }
func (e directoryError) Is(target error) bool { return target == ErrDirectory }

// Write puts the files of a Cut into a directory, which is made if need be: what is there and the same stays untouched,
// files of objects that are gone are removed, and files that no export has written are not
// overwritten. Killed at any instant, it leaves the old tree, the new one, or one that says that it is neither; the next
// Write makes it whole.
func Write(dir string, cut *Cut, o Options) (*Written, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // what is in it is for whoever may read the user's files; Secrets have modes of their own
		return nil, directoryError{err}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, directoryError{err}
	}
	defer root.Close()
	unlock, err := lock(root)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t := &tree{root: root, options: o, next: &index{selection: o.Selection.String(), cluster: cut.Cluster, namespaces: cut.Namespaces, server: cut.Server, lacks: cut.lacking(), stamps: map[string]string{}}}
	if t.last, err = readIndex(root); err != nil {
		return nil, directoryError{hint.Wrap(fmt.Errorf("%s: %w", dir, err), "export into another directory")}
	}
	if err := t.fits(); err != nil {
		return nil, directoryError{fmt.Errorf("%s: %w", dir, err)}
	}
	if err := t.compare(cut); err != nil {
		return nil, err
	}
	if len(t.pending) == 0 && len(t.gone) == 0 && t.last != nil && !t.last.unfinished && bytes.Equal(t.last.text(), t.next.text()) {
		return &t.written, nil
	}
	if err := t.exchange(); err != nil {
		return nil, fmt.Errorf("write the export into %s: %w", dir, err)
	}
	return &t.written, nil
}

// tree is a directory on its way from one export to the next.
type tree struct {
	root       *os.Root
	options    Options
	last, next *index // last is nil in a directory without an export
	written    Written
	pending    []pending
	gone       []string
}

// pending is a file that has to be written.
type pending struct {
	path string
	text []byte
	mode fs.FileMode
}

func (t *tree) fits() error {
	const advice = "export into another directory, or say --reselect to have its files replaced"
	switch {
	case t.last == nil || t.options.Reselect:
		return nil
	case t.last.selection != t.next.selection:
		return hint.Wrap(fmt.Errorf("it holds an export of another selection (%s; this one is %s)", t.last.selection, t.next.selection), advice)
	}
	switch t.next.sameCluster(t.last) {
	case otherCluster:
		return hint.Wrap(fmt.Errorf("it holds an export of another cluster (there the UIDs of namespaces are %s; here they are %s)", t.last.uids(), t.next.uids()), advice)
	case nobodyKnows:
		return hint.Wrap(fmt.Errorf("it holds an export of one cluster (there the UIDs of namespaces are %s), and none of these namespaces can be read here, so that nobody can tell whether this cluster is the same", t.last.uids()),
			advice+"; who may read the namespace kube-system is told more")
	case otherServer:
		return hint.Wrap(errors.New("it holds an export of a cluster of which no namespace could be read, and that was asked at another address, or by another authority; nobody can tell whether this one is the same"),
			advice+", if only the address or the authority has changed; who may get a namespace of the selection, or kube-system, is told more")
	case sameCluster:
		t.next.cluster = cmp.Or(t.next.cluster, t.last.cluster)
	}
	return nil
}

// compare finds out which files have to be written, and which to go.
func (t *tree) compare(cut *Cut) error {
	var foreign []string
	for i := range cut.Objects {
		o := &cut.Objects[i]
		p, stamp, current, err := t.file(o)
		if err != nil {
			return fmt.Errorf("%s: %w", o.Key, err)
		}
		if _, twice := t.next.stamps[p.path]; twice {
			return fmt.Errorf("%s would be written to %s, as another object is", o.Key, p.path)
		}
		t.next.stamps[p.path] = stamp
		switch {
		case current == same:
			t.written.Unchanged++
		case current == different && !t.mine(p.path):
			foreign = append(foreign, p.path)
		case current == different:
			t.written.Changed++
			t.pending = append(t.pending, p)
		default:
			t.written.New++
			t.pending = append(t.pending, p)
		}
	}
	if len(foreign) > 0 {
		return directoryError{hint.Wrap(fmt.Errorf("%s there that no export has written: %s", phrase.Plural(len(foreign), "a file is", "files are"), phrase.Few(foreign, 5)),
			"export into another directory, or remove them")}
	}
	if t.last == nil {
		return nil
	}
	for _, path := range slices.Sorted(maps.Keys(t.last.stamps)) {
		if _, still := t.next.stamps[path]; still {
			continue
		}
		if cut.unknown(path) {
			t.next.stamps[path] = t.last.stamps[path]
			t.written.Kept++
			continue
		}
		if err := t.removable(path); err != nil {
			return directoryError{hint.Wrap(err, "see what it is, and take the file or its line in %s away", IndexName)}
		}
		t.gone = append(t.gone, path)
	}
	return nil
}

// mine tells whether an export has written a file.
func (t *tree) mine(path string) bool {
	if t.last == nil {
		return false
	}
	_, ok := t.last.stamps[path]
	return ok
}

// unknown tells whether nothing is known of the object of a path, since its kind could not be read.
func (c *Cut) unknown(file string) bool {
	kind := path.Base(path.Dir(file))
	if parts := strings.SplitN(file, "/", 3); len(parts) == 3 {
		kind = parts[1]
	}
	return slices.ContainsFunc(c.unread, func(u string) bool {
		if group, all := strings.CutPrefix(u, "*."); all {
			_, of, _ := strings.Cut(kind, ".")
			return of == group
		}
		return u == kind
	})
}

// standing is how a file compares with what it should be.
type standing int

const (
	missing standing = iota
	same
	different
)

// file is how an object is written, and what is there in its place.
func (t *tree) file(o *Object) (p pending, stamp string, current standing, err error) {
	p = pending{path: o.Path, text: o.Text, mode: 0o644}
	if !o.Secret {
		current, err = t.standing(p.path, p.text)
		return p, "", current, err
	}
	p.mode = 0o600
	if t.options.Recipients.None() {
		if current, err = t.standing(p.path, p.text); current == same && t.open(p.path) {
			current = different // as after a checkout: it is written anew, for its user alone
		}
		return p, "", current, err
	}
	// Encryption gives other bytes each time: what was encrypted of the same object for the same
	// recipients stays, if its bytes are those that were written. The stamp tells nobody anything about the content.
	p.path = o.Path + sealedEnd
	sum := sha256.Sum256([]byte(o.Stamp + "\n" + strings.Join(t.options.Recipients.Names(), "\n")))
	stamp = hex.EncodeToString(sum[:16])
	there, err := t.standing(p.path, nil)
	if err != nil {
		return p, "", there, err
	}
	if there != missing && t.last != nil && !t.last.unfinished {
		text, err := t.root.ReadFile(p.path)
		if err != nil {
			return p, "", there, directoryError{err}
		}
		if whole := stampOf(stamp, text); t.last.stamps[p.path] == whole {
			return p, whole, same, nil
		}
	}
	p.text, err = t.options.Recipients.Encrypt(o.Text)
	return p, stampOf(stamp, p.text), there, err
}

// stampOf is a stamp with a sum of the encrypted text.
func stampOf(stamp string, sealed []byte) string {
	sum := sha256.Sum256(sealed)
	return stamp + " " + hex.EncodeToString(sum[:8])
}

// standing compares what is at a path, and refuses what is no file.
func (t *tree) standing(path string, want []byte) (standing, error) {
	info, err := t.root.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return missing, nil
	}
	if err != nil {
		return missing, directoryError{err}
	}
	if !info.Mode().IsRegular() {
		return missing, directoryError{fmt.Errorf("%s is there, and no regular file", path)}
	}
	if want == nil || info.Size() != int64(len(want)) {
		return different, nil
	}
	text, err := t.root.ReadFile(path)
	if err != nil {
		return missing, directoryError{err}
	}
	if bytes.Equal(text, want) {
		return same, nil
	}
	return different, nil
}
