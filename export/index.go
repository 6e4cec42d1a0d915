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
)

const (
	// IndexName is the file that lists what an export has written into a directory.
	IndexName = ".refit-export"
	// asideName is the directory in which files wait until all of them are there.
	asideName = ".refit-export.new"

	indexHead = "# Written by refit export: the files that it keeps here. Those of objects that are gone are removed by\n" +
		"# the next export into this directory; whatever is not listed is left alone. Keep this file beside them.\n"
	indexFormat = "format 1"
	stateWhole  = "state whole"
	stateMoving = "state unfinished"
)

// index is what a directory says of the files of an export.
type index struct {
	selection string
	// unfinished: files of two exports are mixed.
	unfinished bool
	// stamps are the files, with what they were encrypted of, if they are.
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
	x := &index{stamps: map[string]string{}}
	head := []string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(head) < 3 {
			head = append(head, line)
			continue
		}
		path, stamp, _ := strings.Cut(line, " ")
		// It may come from a repository that others write to, and files that it lists are removed.
		if !fs.ValidPath(path) || path == "." || strings.HasPrefix(path, ".") || !strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, sealedExtension) {
			return nil, fmt.Errorf("it lists %q, which no export writes", path)
		}
		x.stamps[path] = stamp
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(head) < 3 || head[0] != indexFormat || !strings.HasPrefix(head[1], "selection ") || head[2] != stateWhole && head[2] != stateMoving {
		return nil, errors.New("it is damaged, or of another version of refit")
	}
	x.selection = strings.TrimPrefix(head[1], "selection ")
	x.unfinished = head[2] == stateMoving
	return x, nil
}

// text is the index as it is written.
func (x *index) text() []byte {
	var b bytes.Buffer
	state := stateWhole
	if x.unfinished {
		state = stateMoving
	}
	fmt.Fprintf(&b, "%s%s\nselection %s\n%s\n", indexHead, indexFormat, x.selection, state)
	for _, path := range slices.Sorted(maps.Keys(x.stamps)) {
		b.WriteString(path)
		if stamp := x.stamps[path]; stamp != "" {
			b.WriteString(" " + stamp)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// ErrUnfinished says that an export into a directory was interrupted while it put its files into place.
var ErrUnfinished = errors.New("an export into this directory was interrupted: some of its files are older than others")

// Check says whether a directory holds a whole export, if it holds one at all: the error is ErrUnfinished if not.
func Check(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	x, err := readIndex(root)
	if err != nil || x == nil {
		return err
	}
	if x.unfinished {
		return ErrUnfinished
	}
	return nil
}
