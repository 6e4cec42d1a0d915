// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"refit.dev/refit/export"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/manifest"
	"refit.dev/refit/vault/seal"
)

// fileLimit is how many bytes of a file are read: a list of 100,000 objects takes a third of it.
const fileLimit = 512 << 20

// Loaded is what files hold.
type Loaded struct {
	Objects []Object
	// Warnings are what is worth knowing of the files.
	Warnings []string
}

// Object is an object to make, and the file that it is from.
type Object struct {
	*unstructured.Unstructured
	From string
}

// InputError lists what is wrong with files, or with what they ask of a cluster; nothing was changed.
type InputError struct{ Problems []string }

// problemsShown is how many problems stand in an error.
const problemsShown = 20

// Error is all problems, one a line if there are several.
func (e *InputError) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0]
	}
	shown := e.Problems[:min(len(e.Problems), problemsShown)]
	text := fmt.Sprintf("%d things are wrong:\n  %s", len(e.Problems), strings.Join(shown, "\n  "))
	if more := len(e.Problems) - len(shown); more > 0 {
		text += fmt.Sprintf("\n  and %d more", more)
	}
	return text
}

// Load reads the objects of files and directories, "-" being stdin: all files of a directory and those below whose names end in
// .yaml, .yml or .json, and .age after that, but for hidden ones. Encrypted files need
// identities. Every object has to be there once. Links in directories are refused: they may lead anywhere.
func Load(paths []string, stdin io.Reader, identities seal.Identities) (*Loaded, error) {
	var files, problems []string
	all := &Loaded{}
	for _, path := range paths {
		found, lacks, err := find(path)
		if err != nil {
			problems = append(problems, err.Error())
		}
		files = append(files, found...)
		if len(lacks) > 0 {
			all.Warnings = append(all.Warnings, fmt.Sprintf("%s is of an export that could not read everything; it lacks %s, or has older files of it", path, phrase.Few(lacks, 5)))
		}
	}
	if len(problems) > 0 {
		return nil, &InputError{problems}
	}
	parsed := make([][]*unstructured.Unstructured, len(files))
	wrong := make([]error, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, file := range files {
		group.Go(func() error {
			parsed[i], wrong[i] = load(file, stdin, identities)
			return nil
		})
	}
	_ = group.Wait() // the errors are in wrong
	first := map[manifest.Key]string{}
	var advice string
	for i, file := range files {
		if wrong[i] != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", file, wrong[i]))
			advice = cmp.Or(advice, hint.Of(wrong[i]))
		}
		for _, u := range parsed[i] {
			key := manifest.KeyOf(u)
			if before, twice := first[key]; twice {
				problems = append(problems, fmt.Sprintf("%s is in %s and in %s", key, before, file))
			}
			first[key] = file
			all.Objects = append(all.Objects, Object{u, file})
		}
	}
	if len(problems) > 0 {
		err := error(&InputError{problems})
		if advice != "" {
			err = hint.Wrap(err, "%s", advice)
		}
		return nil, err
	}
	if len(all.Objects) == 0 {
		return nil, &InputError{[]string{"there is no object in " + strings.Join(paths, ", ")}}
	}
	return all, nil
}

// find returns the files that a path means, sorted, and what an export that they are of could not read.
func find(path string) (files, lacks []string, err error) {
	if path == "-" {
		return []string{path}, nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if lacks, err = export.Check(path); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if !info.IsDir() {
		return []string{path}, lacks, nil
	}
	err = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case file == path:
		case strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a link: name what it leads to, if that is meant", file)
		case d.Type().IsRegular() && holdsObjects(d.Name()):
			files = append(files, file)
		}
		return nil
	})
	slices.Sort(files)
	return files, lacks, err
}

func holdsObjects(name string) bool {
	switch filepath.Ext(strings.TrimSuffix(name, ".age")) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

func load(file string, stdin io.Reader, identities seal.Identities) ([]*unstructured.Unstructured, error) {
	from := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, unnamed(err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, fileLimit+1))
	switch {
	case err != nil:
		return nil, unnamed(err)
	case len(text) > fileLimit:
		return nil, fmt.Errorf("it has more than %d MiB", fileLimit>>20)
	}
	if strings.HasSuffix(file, ".age") {
		if text, err = identities.Decrypt(text); err != nil {
			return nil, err
		}
	}
	objects, err := manifest.Parse(text)
	if name := filepath.Base(file); err != nil && (name == "kustomization.yaml" || name == "kustomization.yml") {
		err = hint.Wrap(err, "that directory is for kustomize: kubectl kustomize %s | refit import -", filepath.Dir(file))
	}
	for _, u := range objects {
		clean(u)
	}
	return objects, err
}

// clean takes out of an object what a server has added to it. What a person has written is left alone.
func clean(u *unstructured.Unstructured) {
	if u.GetUID() != "" || u.GetResourceVersion() != "" || len(u.GetManagedFields()) > 0 {
		manifest.Clean(u)
		return
	}
	manifest.CleanMetadata(u)
	delete(u.Object, "status")
}

// unnamed is err without the path: that stands before it.
func unnamed(err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		return of.Err
	}
	return err
}
