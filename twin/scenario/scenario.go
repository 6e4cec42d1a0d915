// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package scenario reads sets of plain Kubernetes manifests and applies them
// to a twin. Some are built in, see Names; any file of manifests will do.
//
// A scenario says how many nodes it is made for by the annotations
// twin.refit.dev/nodes and twin.refit.dev/zones on one of its Namespaces.
package scenario

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin/simulated"
)

//go:embed *.yaml
var builtin embed.FS

// Scenario is a set of objects, in the order in which they are applied.
type Scenario struct {
	// Name is that of a built-in scenario, or the path of the file.
	Name string
	// Nodes and Zones are what the scenario is made for, 0 if it does not say.
	Nodes int
	Zones int

	objects []object
	sum     string
}

// object is a manifest and where it stands.
type object struct {
	*unstructured.Unstructured
	document int // from 1
}

// Names returns the built-in scenarios, sorted.
func Names() []string {
	entries, err := builtin.ReadDir(".")
	if err != nil {
		return nil // cannot happen: the files are in the program
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(out)
	return out
}

// Load reads the built-in scenario of that name, or else the file of that
// path: YAML documents or JSON values, Lists among them. Nothing is looked up
// in a cluster; what is no manifest is an error that names file and document.
func Load(nameOrFile string) (*Scenario, error) {
	if slices.Contains(Names(), nameOrFile) {
		data, err := builtin.ReadFile(path.Join(nameOrFile + ".yaml"))
		if err != nil {
			return nil, err
		}
		return Parse(nameOrFile, data)
	}
	data, err := os.ReadFile(nameOrFile)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("scenario: %w", err),
			"name a file of manifests or one of the built-in scenarios: %s", strings.Join(Names(), ", "))
	}
	return Parse(nameOrFile, data)
}

// Parse reads manifests; name is used in messages.
func Parse(name string, data []byte) (*Scenario, error) {
	sum := sha256.Sum256(data)
	s := &Scenario{Name: name, sum: hex.EncodeToString(sum[:])}
	documents, err := split(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, raw := range documents {
		if err := s.add(i+1, raw); err != nil {
			return nil, fmt.Errorf("%s, document %d: %w", name, i+1, err)
		}
	}
	if len(s.objects) == 0 {
		return nil, fmt.Errorf("%s: it holds no manifest", name)
	}
	if err := s.readSize(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(s.objects, func(a, b object) int { return phase(a.GetKind()) - phase(b.GetKind()) })
	return s, nil
}

// Sum returns the SHA-256 of the manifests, hex.
func (s *Scenario) Sum() string { return s.sum }

// split returns the documents as JSON; empty ones as nil, so that they count.
func split(data []byte) ([][]byte, error) {
	// JSON is YAML too, but for several values one after the other.
	if out, err := splitJSON(data); err == nil {
		return out, nil
	}
	var out [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", len(out)+1, err)
		}
		raw, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", len(out)+1, err)
		}
		if string(raw) == "null" {
			raw = nil
		}
		out = append(out, raw)
	}
}

func splitJSON(data []byte) ([][]byte, error) {
	var out [][]byte
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", len(out)+1, err)
		}
		out = append(out, raw)
	}
}

// add appends the object, or the objects of the List, that raw is.
func (s *Scenario) add(document int, raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &u.Object); err != nil {
		return fmt.Errorf("want an object: %w", err)
	}
	if u.IsList() {
		list, err := u.ToList()
		if err != nil {
			return err
		}
		for i := range list.Items {
			if err := s.addObject(document, &list.Items[i]); err != nil {
				return fmt.Errorf("item %d: %w", i+1, err)
			}
		}
		return nil
	}
	return s.addObject(document, u)
}

func (s *Scenario) addObject(document int, u *unstructured.Unstructured) error {
	switch {
	case u.GetAPIVersion() == "":
		return errors.New("apiVersion is missing")
	case u.GetKind() == "":
		return errors.New("kind is missing")
	case u.GetName() == "":
		if v, found, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", "name"); found && v != nil {
			return fmt.Errorf("%s: metadata.name is %v, no text: quote it", u.GetKind(), v) // n is "no" in YAML
		}
		return fmt.Errorf("%s: metadata.name is missing (generateName is not supported)", u.GetKind())
	}
	s.objects = append(s.objects, object{Unstructured: u, document: document})
	return nil
}

// readSize finds the annotations that say how many nodes and zones are wanted.
func (s *Scenario) readSize() error {
	for _, o := range s.objects {
		if o.GetKind() != "Namespace" {
			continue
		}
		for annotation, field := range map[string]*int{simulated.NodesAnnotation: &s.Nodes, simulated.ZonesAnnotation: &s.Zones} {
			v, ok := o.GetAnnotations()[annotation]
			if !ok {
				continue
			}
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				return fmt.Errorf("%s, document %d: %s: annotation %s is %q: want a number from 1", s.Name, o.document, o, annotation, v)
			}
			*field = n
		}
	}
	return nil
}

// String names the object: Kind namespace/name.
func (o object) String() string {
	if ns := o.GetNamespace(); ns != "" {
		return o.GetKind() + " " + ns + "/" + o.GetName()
	}
	return o.GetKind() + " " + o.GetName()
}

// The phases in which objects are applied.
const (
	phaseNamespaces = iota
	phaseDefinitions
	phaseSettings // what workloads refer to or are governed by
	phaseWorkloads
)

func phase(kind string) int {
	switch kind {
	case "Namespace":
		return phaseNamespaces
	case "CustomResourceDefinition":
		return phaseDefinitions
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "Pod":
		return phaseWorkloads
	default:
		return phaseSettings
	}
}

// Objects names the objects, in the order in which they are applied.
func (s *Scenario) Objects() []string {
	out := make([]string, len(s.objects))
	for i, o := range s.objects {
		out[i] = o.String()
	}
	return out
}
