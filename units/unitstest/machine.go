// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package unitstest gives tests a machine whose components are services of systemd: files with
// links and sums, processes that run the files that they were started from, and a health that
// is asked as that of a real one. It is for tests alone.
package unitstest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path"
	"slices"
	"strings"
	"sync"

	"refit.dev/refit/host"
)

// Machine is one machine. A binary is a text: its name and version, and then words that say
// what is special: "dies" (it ends right after its start), "unwell" (its health is bad),
// "secured" and "closed" (it tells its health those alone who show a certificate, and nobody),
// "flag=NAME" and "gate=NAME" (what it does not know). A text that begins with "#!" is a script.
type Machine struct {
	host.Machine // what is not here is not asked for

	// Before is asked before a command runs, and After when it has: their errors are the
	// command's. Both may be nil, and are called without the machine's lock.
	Before, After func(argv []string) error
	// Started hears of every process that was started.
	Started func(component, binary string)
	// Boot is its boot ID.
	Boot string

	mu       sync.Mutex
	files    map[string]*inode
	services map[string]*unit
	pids     int
}

type inode struct{ text string }

type unit struct {
	argv []string
	pid  int
	runs *inode
	// words are those that the process was started with.
	words       []string
	environment string
}

// New returns a machine with these components at a version, under /usr/local/bin.
func New(version string, components ...string) *Machine {
	m := &Machine{files: map[string]*inode{}, services: map[string]*unit{}, Boot: "boot"}
	for _, c := range components {
		m.Add(c, Binary(c, version))
	}
	return m
}

// Add adds a component that runs a binary under /usr/local/bin.
func (m *Machine) Add(component, binary string) {
	m.Write("/usr/local/bin/"+component, binary)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.services[component] = &unit{argv: []string{"/usr/local/bin/" + component}}
	m.start(component)
}

// Binary is the text of a binary.
func Binary(component, version string, special ...string) string {
	if component == "etcd" {
		version = map[string]string{"v1.36.3": "3.6.16", "v1.37.2": "3.7.3"}[version]
	}
	return strings.Join(append([]string{component, version}, special...), " ")
}

// Sum is the SHA-256 of a text.
func Sum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Write puts a file there.
func (m *Machine) Write(path, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = &inode{text}
}

// Flags has a component be started with these flags, and its process have been.
func (m *Machine) Flags(component string, flags ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.services[component]
	u.argv = append([]string{"/usr/local/bin/" + component}, flags...)
	u.words = u.argv
}

// Words has the process of a component have been started with these words.
func (m *Machine) Words(component string, words ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.services[component].words = words
}

// Environment has a component be started with these variables, "NAME=value" each.
func (m *Machine) Environment(component string, variables ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.services[component].environment = strings.Join(variables, " ")
}

// Program has a component be started from another path, with these words behind it.
func (m *Machine) Program(component, path string, words ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.services[component].argv = append([]string{path}, words...)
}

// Text is what a file has; "" if there is none.
func (m *Machine) Text(path string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[path]; f != nil {
		return f.text
	}
	return ""
}

// Running is the text of the binary that the process of a component runs; "" if none does.
func (m *Machine) Running(component string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.services[component]; u != nil && u.pid > 0 {
		return u.runs.text
	}
	return ""
}

// Files lists the paths of all files, sorted.
func (m *Machine) Files() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var paths []string
	for p := range m.files {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// start starts the process of a component from the file in its place.
func (m *Machine) start(component string) {
	u := m.services[component]
	u.runs, u.words, u.pid = m.files[u.argv[0]], u.argv, 0
	if u.runs != nil && !has(u.runs.text, "dies") {
		m.pids++
		u.pid = 100 + m.pids
	}
}

func has(text, word string) bool { return slices.Contains(strings.Fields(text), word) }

// Exec runs one of the commands that package units runs.
func (m *Machine) Exec(_ context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	if m.Before != nil {
		if err := m.Before(argv); err != nil {
			return host.Result{}, err
		}
	}
	var input []byte
	if opts.Stdin != nil {
		input, _ = io.ReadAll(opts.Stdin)
	}
	code, out, started := m.answer(argv, string(input))
	if started != "" && m.Started != nil {
		m.Started(started, m.Running(started))
	}
	if m.After != nil {
		if err := m.After(argv); err != nil {
			return host.Result{}, err
		}
	}
	result := host.Result{Code: code, Stdout: []byte(out)}
	if code != 0 {
		result.Stdout, result.Stderr = nil, []byte(out)
	}
	return result, nil
}

func (m *Machine) answer(argv []string, input string) (code int, out, started string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch line := strings.Join(argv, " "); {
	case line == "uname -m":
		return 0, "x86_64\n", ""
	case argv[0] == "df":
		return 0, "Avail Mounted on\n10000000000 /\n", ""
	case argv[0] == "rm":
		for _, p := range argv[3:] {
			delete(m.files, p)
		}
		return 0, "", ""
	case argv[0] == "sha256sum":
		f := m.files[argv[2]]
		if f == nil {
			return 1, "no such file", ""
		}
		return 0, Sum(f.text) + "  " + argv[2] + "\n", ""
	case argv[0] == "systemctl":
		return m.systemctl(argv)
	case argv[0] == "sh":
		code, out = m.script(argv[2], argv[4:], input)
		return code, out, ""
	case slices.Contains(argv, "--version") || len(argv) > 1 && strings.HasPrefix(argv[1], "--feature-gates="):
		code, out = m.program(argv)
		return code, out, ""
	}
	return 127, "no such command: " + argv[0], ""
}

// ReadFile returns the text of a file.
func (m *Machine) ReadFile(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[path.Clean(name)]; f != nil {
		return []byte(f.text), nil
	}
	for _, u := range m.services {
		if u.pid > 0 && name == fmt.Sprintf("/proc/%d/cmdline", u.pid) {
			return []byte(strings.Join(u.words, "\x00") + "\x00"), nil
		}
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
}

// BootID returns Boot.
func (m *Machine) BootID(context.Context) (string, error) { return m.Boot, nil }

// Close does nothing.
func (m *Machine) Close() error { return nil }

// Dial connects to the component that listens on a port of the machine.
func (m *Machine) Dial(_ context.Context, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	component := map[string]string{
		"2381": "etcd", "6443": "kube-apiserver", "10257": "kube-controller-manager", "10259": "kube-scheduler", "10248": "kubelet", "10256": "kube-proxy",
	}[port]
	binary := m.Running(component)
	if binary == "" {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	return answering(component, binary)
}
