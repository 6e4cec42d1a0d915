// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// deb is a Debian package.
type deb struct {
	name    string
	version string // with the revision
	depends string
	about   string
	files   map[string]string // path in the package to the file that it comes from
	texts   map[string]string // path in the package to contents
	scripts map[string]string // postinst and the like
}

// write writes the package and, beside it, its paragraph of a Packages file,
// for an index that lies in the directory above dir. (deb(5), deb-control(5))
func (d deb) write(dir string) error {
	var size int64
	for _, from := range d.files {
		info, err := os.Stat(from)
		if err != nil {
			return err
		}
		size += info.Size()
	}
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: The refit Authors\nInstalled-Size: %d\n",
		d.name, d.version, runtime.GOARCH, size/1024)
	if d.depends != "" {
		control += "Depends: " + d.depends + "\n"
	}
	control += fmt.Sprintf("Section: admin\nPriority: optional\nDescription: %s\n", d.about)

	file := fmt.Sprintf("%s_%s_%s.deb", d.name, d.version, runtime.GOARCH)
	sum, total, err := d.archive(filepath.Join(dir, file), control)
	if err != nil {
		return fmt.Errorf("package %s %s: %w", d.name, d.version, err)
	}
	paragraph := control + fmt.Sprintf("Filename: %s\nSize: %d\nSHA256: %x\n", path.Join(filepath.Base(dir), file), total, sum)
	return os.WriteFile(filepath.Join(dir, strings.TrimSuffix(file, ".deb")+".paragraph"), []byte(paragraph), 0o644)
}

// archive writes the archive of three members that a package is; the data come
// uncompressed, as they are unpacked on every machine.
func (d deb) archive(to, control string) (sum []byte, size int64, err error) {
	members := map[string]string{"./control": control}
	for name, text := range d.scripts {
		members["./"+name] = text
	}
	var controlTar bytes.Buffer
	if err := writeTar(&controlTar, nil, members, 0o755); err != nil {
		return nil, 0, err
	}
	data, err := os.CreateTemp(filepath.Dir(to), ".data-")
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = os.Remove(data.Name()) }()
	defer data.Close()
	if err := writeTar(data, d.files, d.texts, 0o644); err != nil {
		return nil, 0, err
	}
	info, err := data.Stat()
	if err != nil {
		return nil, 0, err
	}
	if _, err := data.Seek(0, io.SeekStart); err != nil {
		return nil, 0, err
	}
	out, err := os.Create(to)
	if err != nil {
		return nil, 0, err
	}
	defer out.Close()
	h := sha256.New()
	w := io.MultiWriter(out, h)
	if _, err := io.WriteString(w, "!<arch>\n"); err != nil {
		return nil, 0, err
	}
	for _, m := range []struct {
		name string
		size int64
		from io.Reader
	}{
		{"debian-binary", 4, strings.NewReader("2.0\n")},
		{"control.tar", int64(controlTar.Len()), &controlTar},
		{"data.tar", info.Size(), data},
	} {
		if err := arMember(w, m.name, m.size, m.from); err != nil {
			return nil, 0, err
		}
	}
	info, err = out.Stat()
	if err != nil {
		return nil, 0, err
	}
	return h.Sum(nil), info.Size(), out.Close()
}

// arMember writes one member of an ar archive.
func arMember(w io.Writer, name string, size int64, from io.Reader) error {
	if _, err := fmt.Fprintf(w, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", size); err != nil {
		return err
	}
	if _, err := io.Copy(w, from); err != nil {
		return err
	}
	if size%2 == 1 {
		_, err := w.Write([]byte("\n"))
		return err
	}
	return nil
}

// writeTar writes files and texts, the latter with mode, and the directories above them.
func writeTar(w io.Writer, files, texts map[string]string, mode int64) error {
	out := tar.NewWriter(w)
	if err := tarParents(out, slices.Concat(sortedKeys(files), sortedKeys(texts))); err != nil {
		return err
	}
	if err := tarFiles(out, files); err != nil {
		return err
	}
	if err := tarTexts(out, texts, mode); err != nil {
		return err
	}
	return out.Close()
}

// tarParents writes the directories above names, which dpkg does not make by itself.
func tarParents(out *tar.Writer, names []string) error {
	dirs := map[string]bool{}
	for _, name := range names {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			dirs["./"+strings.TrimPrefix(dir, "./")+"/"] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, Format: tar.FormatGNU}); err != nil {
			return err
		}
	}
	return nil
}

// tarFiles writes files, which are programs, from path in the tar to where they come from.
func tarFiles(out *tar.Writer, files map[string]string) error {
	for _, name := range sortedKeys(files) {
		f, err := os.Open(files[name])
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			err = out.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: info.Size(), Format: tar.FormatGNU})
		}
		if err == nil {
			_, err = io.Copy(out, f)
		}
		_ = f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func tarTexts(out *tar.Writer, texts map[string]string, mode int64) error {
	for _, name := range sortedKeys(texts) {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(texts[name])), Format: tar.FormatGNU}); err != nil {
			return err
		}
		if _, err := io.WriteString(out, texts[name]); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
