// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"refit.dev/refit/internal/hint"
)

// Arg is a flag of a component, without dashes, and its value.
type Arg struct{ Name, Value string }

func (a Arg) String() string { return "--" + a.Name + "=" + a.Value }

// The versions of kubeadm's API: up to v1beta3 extraArgs is a map, from v1beta4 on a list
// of names and values, in which the last of a name counts
// (https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/).
const (
	apiGroup   = "kubeadm.k8s.io/"
	lastMapped = apiGroup + "v1beta3"
	firstList  = apiGroup + "v1beta4"
)

// SetAPIServerArgs returns a ClusterConfiguration, as the ConfigMap kubeadm-config has it,
// in which kube-apiserver has these flags. Everything else of the text stays, comments and
// order too, and it is written as kubeadm writes it. Who sets what is set already gets the
// same text back.
func SetAPIServerArgs(config string, args []Arg) (string, error) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(config), &document); err != nil {
		return "", fmt.Errorf("the ClusterConfiguration is damaged: %w", err)
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return "", errors.New("the ClusterConfiguration is damaged: it is no mapping")
	}
	root := document.Content[0]
	form, err := formOf(root)
	if err != nil {
		return "", err
	}
	server, err := child(root, "apiServer", yaml.MappingNode)
	if err != nil {
		return "", err
	}
	extra, err := child(server, "extraArgs", form)
	if err != nil {
		return "", err
	}
	changed := false
	for _, a := range args {
		if form == yaml.MappingNode {
			changed = setMapped(extra, a) || changed
		} else {
			changed = setListed(extra, a) || changed
		}
	}
	if !changed {
		return config, nil
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := errors.Join(e.Encode(&document), e.Close()); err != nil {
		return "", fmt.Errorf("write the ClusterConfiguration: %w", err)
	}
	return b.String(), nil
}

// formOf is whether the configuration has its extraArgs as a mapping or as a sequence.
func formOf(root *yaml.Node) (yaml.Kind, error) {
	if kind := valueOf(root, "kind"); kind == nil || kind.Value != "ClusterConfiguration" {
		return 0, errors.New("the ClusterConfiguration is damaged: it is of another kind")
	}
	version := ""
	if found := valueOf(root, "apiVersion"); found != nil {
		version = found.Value
	}
	switch version {
	case apiGroup + "v1beta1", apiGroup + "v1beta2", lastMapped:
		return yaml.MappingNode, nil
	case firstList:
		return yaml.SequenceNode, nil
	}
	return 0, hint.Wrap(fmt.Errorf("the ClusterConfiguration is of %q, which refit does not know", version), "change it as kubeadm's documentation says")
}

func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// child returns the value of a key, which is made if there is none.
func child(mapping *yaml.Node, key string, kind yaml.Kind) (*yaml.Node, error) {
	found := valueOf(mapping, key)
	switch {
	case found == nil:
		found = &yaml.Node{Kind: kind}
		mapping.Content = append(mapping.Content, text(key), found)
	case found.Kind == yaml.ScalarNode && found.Tag == "!!null":
		*found = yaml.Node{Kind: kind}
	case found.Kind != kind:
		return nil, fmt.Errorf("the ClusterConfiguration is damaged: %s in line %d is not of the form that its version has", key, found.Line)
	}
	if len(found.Content) == 0 {
		found.Style = 0 // {} would be written in one line
	}
	return found, nil
}

func text(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
}

// setMapped sets a flag in a map, and tells whether that changed it.
func setMapped(extra *yaml.Node, a Arg) bool {
	found := valueOf(extra, a.Name)
	switch {
	case found == nil:
		extra.Content = append(extra.Content, text(a.Name), text(a.Value))
	case found.Value == a.Value:
		return false
	default:
		setValue(found, a.Value)
	}
	return true
}

// setListed sets a flag in a list, once, and tells whether that changed it.
func setListed(extra *yaml.Node, a Arg) bool {
	changed, seen := false, false
	kept := extra.Content[:0:0]
	for _, entry := range extra.Content {
		name := valueOf(entry, "name")
		if name == nil || strings.TrimPrefix(name.Value, "--") != a.Name {
			kept = append(kept, entry)
			continue
		}
		if seen { // it would count, and not the first
			changed = true
			continue
		}
		seen = true
		kept = append(kept, entry)
		value := valueOf(entry, "value")
		switch {
		case value == nil:
			entry.Content = append(entry.Content, text("value"), text(a.Value))
			changed = true
		case value.Value != a.Value:
			setValue(value, a.Value)
			changed = true
		}
	}
	if !seen {
		kept = append(kept, &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{text("name"), text(a.Name), text("value"), text(a.Value)}})
		changed = true
	}
	extra.Content = kept
	return changed
}

// setValue gives a scalar another value; it is a string, as all values of flags are here.
func setValue(n *yaml.Node, value string) {
	n.Kind, n.Tag, n.Value, n.Style = yaml.ScalarNode, "!!str", value, 0
}
