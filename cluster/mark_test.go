// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func marked(annotation string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{CordonAnnotation: annotation, OutOfServiceAnnotation: annotation}}}
}

func TestMarkComesBack(t *testing.T) {
	since := time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC)
	for _, want := range []Mark{
		{Since: since},
		{Run: "20261122-150405-abcd", Since: since},
		{Run: DrainPrefix + "20261122-150405-x7z2", Since: since, WasUnschedulable: true},
	} {
		if got, ok := MarkOf(marked(want.Annotation())); !ok || got != want {
			t.Errorf("%+v, %v, want %+v", got, ok, want)
		}
	}
}

// TestMarkOfSomebodyElse: what refit would not write is no mark, and so is shown nowhere.
func TestMarkOfSomebodyElse(t *testing.T) {
	for _, text := range []string{
		"", "x", `[]`, `{"run":7}`,
		`{"run":"a; rm -rf ~ $(id)"}`,
		`{"run":"a\nerror: fake"}`,
		`{"run":"\u001b[31mred"}`,
		`{"run":"\u009b31mred"}`,
		`{"run":"a\u007f"}`,
		`{"run":"--force"}`,
		`{"run":"../../etc"}`,
		`{"run":"` + strings.Repeat("a", 64) + `"}`,
	} {
		if got, ok := MarkOf(marked(text)); ok {
			t.Errorf("%s: %+v", text, got)
		}
		if got, ok := OutOfServiceMarkOf(marked(text)); ok {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
