// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// ClusterDir is the directory of objects without a namespace. No namespace is called that:
// names of namespaces are DNS labels, which have no underscore.
const ClusterDir = "_cluster"

// extension ends the name of each file.
const extension = ".yaml"

// segmentLimit is how many bytes of a name one element of a path takes: file systems allow 255, names of
// objects 253, escapes make them longer, and the ends ".yaml.age" have to fit as well.
const segmentLimit = 200

// Path returns where an object is written, relative and with slashes:
// namespace/kind.group/name.yaml, of the core group namespace/kind/name.yaml.
func Path(namespace, group, kind, name string) string {
	dir := ClusterDir
	if namespace != "" {
		dir = EscapeName(namespace)
	}
	return dir + "/" + KindDir(group, kind) + "/" + EscapeName(name) + extension
}

// SplitPath is the inverse of Path: kind is what KindDir has escaped. Any other text is an error.
func SplitPath(path string) (namespace, kind, name string, err error) {
	wrong := fmt.Errorf("%q is not where an object is written", path)
	dir, rest, found := strings.Cut(path, "/")
	segments := strings.Split(rest, "/")
	last := 0
	for last < len(segments)-1 && strings.HasSuffix(segments[last], "%") { // its rest is in the next one
		last++
	}
	file, extended := strings.CutSuffix(strings.Join(segments[last+1:], "/"), extension)
	if !found || !extended {
		return "", "", "", wrong
	}
	if dir != ClusterDir {
		namespace, err = UnescapeName(dir)
		if err != nil || len(content.IsDNS1123Label(namespace)) > 0 {
			return "", "", "", wrong
		}
	}
	if kind, err = UnescapeName(strings.Join(segments[:last+1], "/")); err == nil {
		name, err = UnescapeName(file)
	}
	if err != nil || kind == "" || name == "" {
		return "", "", "", wrong
	}
	return namespace, kind, name, nil
}

// KindDir is the directory of a kind, below that of a namespace.
func KindDir(group, kind string) string {
	of := strings.ToLower(kind)
	if group != "" {
		of += "." + group
	}
	return EscapeName(of)
}

// EscapeName makes a name safe as part of a path, on every file system, so that no two names
// become one, not even where upper and lower case are the same: what is no lower case letter, digit, dash,
// underscore or inner dot is written as %xx, byte by byte, and so is the first letter of what Windows
// takes for a device. The rest of a very long name goes into a directory: its parts end in % then.
// Names of Kubernetes hold no % and no slash of their own, but those are escaped, too.
func EscapeName(name string) string {
	var b strings.Builder
	used := 0
	device := deviceName(name)
	for i := range len(name) {
		c := name[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' && i > 0 && i < len(name)-1
		if i == 0 && device {
			plain = false
		}
		width := 1
		if !plain {
			width = 3
		}
		if used+width > segmentLimit {
			b.WriteString("%/")
			used = 0
		}
		if used == 0 && c == '.' { // no element begins with a dot
			plain, width = false, 3
		}
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
		used += width
	}
	if b.Len() == 0 {
		return "%"
	}
	return b.String()
}

// UnescapeName returns the name that EscapeName has escaped; any other text is an error.
func UnescapeName(path string) (string, error) {
	if path == "%" {
		return "", nil
	}
	var b strings.Builder
	rest := strings.ReplaceAll(path, "%/", "")
	for rest != "" {
		if rest[0] != '%' {
			b.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		var c byte
		if len(rest) < 3 {
			return "", fmt.Errorf("%q ends in the middle of an escape", path)
		}
		if _, err := fmt.Sscanf(rest[1:3], "%02x", &c); err != nil {
			return "", fmt.Errorf("%q: %q is no escape", path, rest[:3])
		}
		b.WriteByte(c)
		rest = rest[3:]
	}
	if name := b.String(); EscapeName(name) == path {
		return name, nil
	}
	return "", fmt.Errorf("%q is not how a name is escaped", path)
}

// deviceName tells whether Windows takes a name for a device, whatever follows its first dot
// (https://learn.microsoft.com/windows/win32/fileio/naming-a-file).
func deviceName(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(stem) == 4 && (strings.HasPrefix(stem, "com") || strings.HasPrefix(stem, "lpt")) && stem[3] >= '0' && stem[3] <= '9'
}
