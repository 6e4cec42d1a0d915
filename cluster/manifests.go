// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// FromObjects makes a Snapshot of plain objects (lists of them, too), for
// whoever wants to judge a cluster that is not there. The objects are copied.
// Those without a UID get one made of kind, namespace and name, and so do owner
// references, so that hand-written objects find each other. Kinds that a
// Snapshot has no place for are an error.
func FromObjects(now time.Time, objs ...runtime.Object) (*Snapshot, error) {
	var all objects
	for _, obj := range objs {
		if err := addPlain(&all, obj); err != nil {
			return nil, err
		}
	}
	return assemble(now, &all, nil), nil
}

// FromManifests is FromObjects for a stream of YAML or JSON documents.
func FromManifests(now time.Time, r io.Reader) (*Snapshot, error) {
	objs, err := DecodeManifests(r)
	if err != nil {
		return nil, err
	}
	return FromObjects(now, objs...)
}

// DecodeManifests reads a stream of YAML or JSON documents of built-in kinds.
func DecodeManifests(r io.Reader) ([]runtime.Object, error) {
	var objs []runtime.Object
	documents := utilyaml.NewYAMLReader(bufio.NewReader(r))
	for n := 1; ; n++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read document %d: %w", n, err)
		}
		// JSON first: the decoder takes what begins with a brace for JSON, which YAML's flow style is not.
		document, err = yaml.YAMLToJSON(document)
		if err != nil {
			return nil, fmt.Errorf("read document %d: %w", n, err)
		}
		if string(document) == "null" { // nothing but comments
			continue
		}
		decoded, err := decode(document)
		if err != nil {
			return nil, fmt.Errorf("read document %d: %w", n, err)
		}
		objs = append(objs, decoded...)
	}
}

// decode decodes one document: an object, or a v1 List of objects of any kind.
func decode(document []byte) ([]runtime.Object, error) {
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(document, nil, nil)
	if err != nil {
		return nil, err
	}
	list, ok := obj.(*corev1.List)
	if !ok {
		return []runtime.Object{obj}, nil
	}
	var objs []runtime.Object
	for i := range list.Items {
		items, err := decode(list.Items[i].Raw)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		objs = append(objs, items...)
	}
	return objs, nil
}

func addPlain(all *objects, obj runtime.Object) error {
	if obj == nil {
		return errors.New("a snapshot has no place for nil")
	}
	if meta.IsListType(obj) {
		return meta.EachListItem(obj, func(item runtime.Object) error { return addPlain(all, item) })
	}
	obj = obj.DeepCopyObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		return fmt.Errorf("a snapshot has no place for %T: %w", obj, err)
	}
	if m.GetUID() == "" {
		m.SetUID(plainUID(kindOf(obj), m.GetNamespace(), m.GetName()))
	}
	owners := m.GetOwnerReferences()
	for i := range owners {
		if owners[i].UID == "" {
			owners[i].UID = plainUID(owners[i].Kind, m.GetNamespace(), owners[i].Name)
		}
	}
	if len(owners) > 0 {
		m.SetOwnerReferences(owners)
	}
	trimmed, err := trim(obj)
	if err != nil {
		return err
	}
	return all.add(trimmed)
}

func plainUID(kind, namespace, name string) types.UID {
	return types.UID(kind + "/" + namespace + "/" + name)
}

// kindOf is the kind of obj; objects made in Go seldom carry it.
func kindOf(obj runtime.Object) string {
	if kind := obj.GetObjectKind().GroupVersionKind().Kind; kind != "" {
		return kind
	}
	if kinds, _, err := scheme.Scheme.ObjectKinds(obj); err == nil && len(kinds) > 0 {
		return kinds[0].Kind
	}
	return fmt.Sprintf("%T", obj)
}
