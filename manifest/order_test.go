// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// owned is a ConfigMap that has owners, each KIND/NAME of the core group.
func owned(name string, owners ...string) string {
	text := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: x, ownerReferences: [", name)
	for _, o := range owners {
		kind, of, _ := strings.Cut(o, "/")
		text += fmt.Sprintf("{apiVersion: v1, kind: %s, name: %s, uid: old}, ", kind, of)
	}
	return text + "]}\n---\n"
}

func TestStages(t *testing.T) {
	text := owned("c", "ConfigMap/b") + owned("b", "Pod/p") + owned("a") +
		"{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: x}}\n---\n" +
		"{apiVersion: v1, kind: Namespace, metadata: {name: x}}\n---\n" +
		"{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: w}}\n---\n" +
		"{apiVersion: example.com/v1, kind: Thing, metadata: {name: t, namespace: x}}\n---\n" +
		"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.example.com}}\n"
	objects, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	stages, err := Stages(objects)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range stages {
		for _, u := range s.Objects {
			got = append(got, u.GetName())
		}
	}
	if want := "x things.example.com a p b c t w"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestStagesInACircle(t *testing.T) {
	objects, err := Parse([]byte(owned("a", "ConfigMap/b") + owned("b", "ConfigMap/a")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Stages(objects); err == nil || !strings.Contains(err.Error(), "in a circle: ConfigMap x/a is owned by ConfigMap x/b is owned by ConfigMap x/a") {
		t.Errorf("%v", err)
	}
}

func TestRemap(t *testing.T) {
	objects, err := Parse([]byte(owned("a", "ConfigMap/here", "Node/machine", "ConfigMap/gone")))
	if err != nil {
		t.Fatal(err)
	}
	uids := map[Key]types.UID{
		{Kind: "ConfigMap", Namespace: "x", Name: "here"}: "1",
		{Kind: "Node", Name: "machine"}:                   "2",
		{Kind: "ConfigMap", Namespace: "y", Name: "gone"}: "3",
	}
	lost := Remap(objects[0], func(k Key) (types.UID, bool) { uid, ok := uids[k]; return uid, ok })
	owners := objects[0].GetOwnerReferences()
	if len(owners) != 2 || owners[0].UID != "1" || owners[1].UID != "2" || len(lost) != 1 || lost[0].Name != "gone" {
		t.Errorf("%+v, lost %+v", owners, lost)
	}
}
