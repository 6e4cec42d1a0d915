// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// members reads an ar archive by its format (deb(5)), not by the code that wrote it.
func members(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	data, ok := bytes.CutPrefix(data, []byte("!<arch>\n"))
	if !ok {
		t.Fatal("not an archive")
	}
	out := map[string][]byte{}
	for len(data) > 0 {
		size, err := strconv.Atoi(strings.TrimSpace(string(data[48:58])))
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSpace(string(data[:16]))] = data[60 : 60+size]
		data = data[60+size+size%2:]
	}
	return out
}

func tarNames(t *testing.T, data []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for in := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = fmt.Sprintf("%o %s", h.Mode, content)
	}
}

func TestDeb(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "amd64")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "kubelet")
	if err := os.WriteFile(program, []byte("odd"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := deb{name: "kubelet", version: "1.36.3-1.1", depends: "mount", about: "Node agent",
		files:   map[string]string{"./usr/bin/kubelet": program},
		texts:   map[string]string{"./usr/lib/systemd/system/kubelet.service": "[Unit]\n"},
		scripts: map[string]string{"postinst": "#!/bin/sh\n"}}
	if err := d.write(dir); err != nil {
		t.Fatal(err)
	}
	file := "kubelet_1.36.3-1.1_" + runtime.GOARCH + ".deb"
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	got := members(t, data)
	if string(got["debian-binary"]) != "2.0\n" {
		t.Errorf("debian-binary is %q", got["debian-binary"])
	}
	control := tarNames(t, got["control.tar"])
	if !strings.Contains(control["./control"], "Package: kubelet\nVersion: 1.36.3-1.1\n") || !strings.HasPrefix(control["./postinst"], "755 ") {
		t.Errorf("control.tar: %q", control)
	}
	content := tarNames(t, got["data.tar"])
	for name, want := range map[string]string{
		"./usr/": "755 ", "./usr/lib/systemd/system/": "755 ", // dpkg makes no directories of its own accord
		"./usr/bin/kubelet": "755 odd", "./usr/lib/systemd/system/kubelet.service": "644 [Unit]\n",
	} {
		if content[name] != want {
			t.Errorf("%s is %q, want %q", name, content[name], want)
		}
	}
	paragraph, err := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(file, ".deb")+".paragraph"))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Filename: amd64/%s\nSize: %d\nSHA256: %x\n", file, len(data), sha256.Sum256(data))
	if !strings.HasSuffix(string(paragraph), want) {
		t.Errorf("the paragraph is\n%s\nwant it to end with\n%s", paragraph, want)
	}
}
