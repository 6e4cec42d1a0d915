// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"refit.dev/refit/manifest"
)

const (
	// IndexName is the file that lists what an export has written into a directory.
	IndexName = ".refit-export"
	// asideName is the directory in which files wait until all of them are there.
	asideName = ".refit-export.new"

	indexHead = "# Written by refit export: the files that it keeps here. Those of objects that are gone are removed by\n" +
		"# the next export into this directory; whatever is not listed is left alone. Keep this file beside them.\n"
	indexFormat = "format 2"
	firstFormat = "format 1" // it has no clusterWord and no lacksWord
	stateWhole  = "state whole"
	stateMoving = "state unfinished"

	selectionWord = "selection "
	clusterWord   = "cluster "
	namespaceWord = "namespace "
	serverWord    = "server "
	lacksWord     = "lacks "
)

// index is what a directory says of the files of an export.
type index struct {
	selection string
	// cluster is Cut.Cluster, "" if that is not known.
	cluster string
	// namespaces is Cut.Namespaces.
	namespaces map[string]string
	// server is Cut.Server. It is written down only where nothing better is known: colleagues may reach one cluster in two ways.
	server string
	// lacks are the resources that the last export could not read.
	lacks []string
	// unfinished: files of two exports are mixed.
	unfinished bool
	// stamps are the files, with what they were encrypted of, and a sum of what came of it, if they are.
	stamps map[string]string
}

// readIndex reads the index of a directory; nil if there is none.
func readIndex(root *os.Root) (*index, error) {
	text, err := root.ReadFile(IndexName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", IndexName, err)
	}
	return x, nil
}

func parseIndex(text []byte) (*index, error) {
	x := &index{namespaces: map[string]string{}, stamps: map[string]string{}}
	format, state := "", ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		path, stamp, _ := strings.Cut(line, " ")
		switch value := strings.TrimSpace(stamp); {
		case strings.HasPrefix(line, "#"):
		case strings.Contains(path, "/"):
			// It may come from a repository that others write to, and files that it lists are removed.
			if _, _, _, err := manifest.SplitPath(strings.TrimSuffix(path, sealedEnd)); err != nil {
				return nil, fmt.Errorf("it lists %q, which no export writes", path)
			}
			x.stamps[path] = stamp
		case len(x.stamps) > 0:
			return nil, errDamaged // what stands before the files
		case format == "":
			format = line
		case strings.HasPrefix(line, selectionWord) && x.selection == "":
			x.selection = value
		case strings.HasPrefix(line, clusterWord) && x.cluster == "" && !strings.Contains(value, " "):
			x.cluster = value
		case strings.HasPrefix(line, namespaceWord) && len(strings.Fields(value)) == 2:
			name, uid, _ := strings.Cut(value, " ")
			x.namespaces[name] = strings.TrimSpace(uid)
		case strings.HasPrefix(line, serverWord) && x.server == "" && !strings.Contains(value, " "):
			x.server = value
		case strings.HasPrefix(line, lacksWord):
			x.lacks = append(x.lacks, value)
		case (line == stateWhole || line == stateMoving) && state == "":
			state = line
		default:
			return nil, errDamaged
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if format != indexFormat && format != firstFormat || x.selection == "" || state == "" {
		return nil, errDamaged
	}
	x.unfinished = state == stateMoving
	return x, nil
}

var errDamaged = errors.New("it is damaged, or of another version of refit")

// text is the index as it is written.
func (x *index) text() []byte {
	var b bytes.Buffer
	state := stateWhole
	if x.unfinished {
		state = stateMoving
	}
	fmt.Fprintf(&b, "%s%s\n%s%s\n", indexHead, indexFormat, selectionWord, x.selection)
	if x.cluster != "" {
		fmt.Fprintf(&b, "%s%s\n", clusterWord, x.cluster)
	}
	for _, name := range slices.Sorted(maps.Keys(x.namespaces)) {
		fmt.Fprintf(&b, "%s%s %s\n", namespaceWord, name, x.namespaces[name])
	}
	if x.anonymous() && x.server != "" {
		fmt.Fprintf(&b, "%s%s\n", serverWord, x.server)
	}
	for _, resource := range x.lacks {
		fmt.Fprintf(&b, "%s%s\n", lacksWord, resource)
	}
	b.WriteString(state + "\n")
	for _, path := range slices.Sorted(maps.Keys(x.stamps)) {
		b.WriteString(path)
		if stamp := x.stamps[path]; stamp != "" {
			b.WriteString(" " + stamp)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}
