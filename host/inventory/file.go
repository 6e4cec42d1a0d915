// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What an inventory says it is.
const (
	version = "refit.dev/v1alpha1"
	kind    = "Inventory"
)

// fileLimit is how many bytes of an inventory are read.
const fileLimit = 16 << 20

// Exception is what is otherwise for one node than its Node and the user's
// configuration of ssh say. What is empty is as they say.
type Exception struct {
	// Node is its name, Line the one of the file that names it.
	Node string `json:"node" yaml:"-"`
	Line int    `json:"line,omitempty" yaml:"-"`
	// Address is a host name or an IP address.
	Address string `json:"address,omitempty" yaml:"address"`
	User    string `json:"user,omitempty" yaml:"user"`
	Port    int    `json:"port,omitempty" yaml:"port"`
	// IdentityFile is the file of a private key; a relative path starts at the inventory.
	IdentityFile string `json:"identityFile,omitempty" yaml:"identityFile"`
	// ProxyJump is [user@]host[:port], several parted by commas, or "none".
	ProxyJump string `json:"proxyJump,omitempty" yaml:"proxyJump"`
	// Sudo says whether commands are run by sudo; left out: unless the login is root.
	Sudo *bool `json:"sudo,omitempty" yaml:"sudo"`
	// Local says that refit runs on this very machine: nothing is connected to.
	Local bool `json:"local,omitempty" yaml:"local"`
}

var fields = []string{"address", "identityFile", "local", "port", "proxyJump", "sudo", "user"}

// Load reads the inventory in a file. home is the user's directory, for paths with ~.
// The error names the file and the line.
func Load(path, home string) ([]Exception, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	defer f.Close()
	exceptions, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("inventory %s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("inventory %s: %w", path, err)
	}
	for i := range exceptions {
		exceptions[i].IdentityFile = Path(exceptions[i].IdentityFile, dir, home)
	}
	return exceptions, nil
}

// Path makes a path that a user gave absolute; "" stays "".
func Path(path, dir, home string) string {
	switch {
	case path == "", filepath.IsAbs(path):
		return path
	case strings.HasPrefix(path, "~/"):
		return filepath.Join(home, path[2:])
	}
	return filepath.Join(dir, path)
}

// Read reads an inventory, strictly: a field that it does not have, or a node named
// twice, is an error. The exceptions are sorted by their nodes' names.
func Read(r io.Reader) ([]Exception, error) {
	text, err := io.ReadAll(io.LimitReader(r, fileLimit+1))
	if err != nil {
		return nil, err
	}
	if len(text) > fileLimit {
		return nil, fmt.Errorf("it has more than %d MiB", fileLimit>>20)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var document struct {
		APIVersion string    `yaml:"apiVersion"`
		Kind       string    `yaml:"kind"`
		Nodes      yaml.Node `yaml:"nodes"`
	}
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, err
	}
	if document.Kind != kind || document.APIVersion != version {
		return nil, fmt.Errorf("it is no inventory: want apiVersion: %s and kind: %s, got %q and %q", version, kind, document.APIVersion, document.Kind)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one YAML document")
	}
	return readNodes(&document.Nodes)
}

func readNodes(nodes *yaml.Node) ([]Exception, error) {
	if nodes.Kind == 0 || nodes.Tag == "!!null" {
		return nil, nil
	}
	if nodes.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: nodes: want the names of nodes with what is said of each", nodes.Line)
	}
	var exceptions []Exception
	seen := map[string]int{}
	for i := 0; i+1 < len(nodes.Content); i += 2 {
		name, value := nodes.Content[i], nodes.Content[i+1]
		if before := seen[name.Value]; before > 0 {
			return nil, fmt.Errorf("line %d: node %q is named in line %d already", name.Line, name.Value, before)
		}
		seen[name.Value] = name.Line
		e, err := readException(value)
		if err != nil {
			return nil, fmt.Errorf("node %q: %w", name.Value, err)
		}
		e.Node, e.Line = name.Value, name.Line
		exceptions = append(exceptions, e)
	}
	slices.SortFunc(exceptions, func(a, b Exception) int { return strings.Compare(a.Node, b.Node) })
	return exceptions, nil
}

func readException(value *yaml.Node) (Exception, error) {
	var e Exception
	if value.Kind != yaml.MappingNode {
		return e, fmt.Errorf("line %d: want fields, such as address: 10.0.0.1", value.Line)
	}
	for i := 0; i+1 < len(value.Content); i += 2 {
		if key := value.Content[i]; !slices.Contains(fields, key.Value) {
			return e, fmt.Errorf("line %d: there is no field %q; there are %s", key.Line, key.Value, strings.Join(fields, ", "))
		}
	}
	if err := value.Decode(&e); err != nil { // names the line, also of a field given twice
		return e, err
	}
	switch {
	case e.Port < 0 || e.Port > 65535:
		return e, fmt.Errorf("line %d: port %d: want 1 to 65535", value.Line, e.Port)
	case e.Local && (e.Address != "" || e.User != "" || e.Port != 0 || e.IdentityFile != "" || e.ProxyJump != "" || e.Sudo != nil):
		return e, fmt.Errorf("line %d: local: true needs nothing else: refit runs on that machine", value.Line)
	}
	return e, nil
}
