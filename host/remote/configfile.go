// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kevinburke/ssh_config"
)

const (
	// configLimit is how many bytes of a configuration are read, its includes among them.
	configLimit = 4 << 20
	// includeDepth is how deep includes may be nested, as in OpenSSH (readconf.c).
	includeDepth = 16
)

// reader reads a configuration of ssh with all that it includes into one text
// without Include and Match, which the parser behind it knows in part only.
type reader struct {
	home     string
	system   bool // relative includes are under /etc/ssh, not under ~/.ssh
	text     bytes.Buffer
	warnings []string
}

// readConfig reads the file at path; nil if there is none.
func readConfig(path, home string, system bool) (*ssh_config.Config, []string, error) {
	r := reader{home: home, system: system}
	err := r.file(path, 0, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration of ssh: %w", err)
	}
	config, err := decode(r.text.Bytes())
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration of ssh %s: %w", path, err)
	}
	return config, r.warnings, nil
}

// decode keeps a panic of the parser from ending a run.
func decode(text []byte) (config *ssh_config.Config, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it cannot be parsed: %v", r)
		}
	}()
	return ssh_config.DecodeBytes(text)
}

// never is a block that applies to no host.
const never = "Host !*"

// file adds the file at path. block is the line of the Host block that includes it,
// "" outside of any.
func (r *reader) file(path string, depth int, block string) error {
	if depth > includeDepth {
		return fmt.Errorf("%s: includes are nested more than %d deep", path, includeDepth)
	}
	text, err := readLimited(path, configLimit-r.text.Len())
	if err != nil {
		return err
	}
	scope, number := block, 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		key, rest := keyword(line)
		switch strings.ToLower(key) {
		case "host", "match":
			if block != "" {
				// What it says would hold for some of the hosts of the block around it.
				r.warnings = append(r.warnings, fmt.Sprintf("%s:%d: blocks in a file that is included by another block are left out", path, number))
				scope = never
			} else {
				scope = r.block(key, rest, path, number)
			}
			r.text.WriteString(scope + "\n")
		case "include":
			if err := r.include(rest, depth, scope); err != nil {
				return fmt.Errorf("%s:%d: %w", path, number, err)
			}
			// What was included may have ended in a block of its own.
			if scope == "" {
				r.text.WriteString("Host *\n")
			} else {
				r.text.WriteString(scope + "\n")
			}
		default:
			r.text.WriteString(line + "\n")
		}
	}
	return nil
}

// block returns the Host line for that of a block, one that no host matches if it
// says what is not understood.
func (r *reader) block(key, rest, path string, number int) string {
	if strings.EqualFold(key, "host") {
		return "Host " + rest
	}
	fields := strings.Fields(strings.ToLower(rest))
	switch {
	case slices.Equal(fields, []string{"all"}), slices.Equal(fields, []string{"final", "all"}): // the latter is in RHEL's own
		return "Host *"
	case len(fields) == 2 && (fields[0] == "host" || fields[0] == "originalhost"):
		return "Host " + strings.Join(strings.Split(strings.Trim(strings.Fields(rest)[1], `"`), ","), " ")
	}
	r.warnings = append(r.warnings, fmt.Sprintf("%s:%d: this Match is not understood; what is under it is left out", path, number))
	return never
}

func (r *reader) include(patterns string, depth int, block string) error {
	for pattern := range strings.FieldsSeq(patterns) {
		pattern = strings.Trim(pattern, `"`)
		switch {
		case strings.HasPrefix(pattern, "~/"):
			pattern = filepath.Join(r.home, pattern[2:])
		case filepath.IsAbs(pattern):
		case r.system:
			pattern = "/etc/ssh/" + pattern
		default:
			pattern = filepath.Join(r.home, ".ssh", pattern)
		}
		names, err := filepath.Glob(pattern) // sorted
		if err != nil {
			return fmt.Errorf("include %s: %w", pattern, err)
		}
		for _, name := range names {
			if err := r.file(name, depth+1, block); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if block == "" {
				r.text.WriteString("Host *\n")
			}
		}
	}
	return nil
}

// keyword cuts a line of a configuration into its keyword and the rest; the two are
// parted by blanks or by one "=" (ssh_config(5)).
func keyword(line string) (key, rest string) {
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return line, ""
	}
	rest = strings.TrimLeft(line[end:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	return line[:end], rest
}

func readLimited(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(text) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return text, nil
}
