// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"errors"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
)

// An API server lists what is in a snapshot; and one that lists less than there should be
// proves nothing.
func TestServe(t *testing.T) {
	p := newEmbeddedPlane(t)
	for _, name := range []string{"one", "two"} {
		if _, err := p.client.CoreV1().ConfigMaps("default").Create(t.Context(), configMap(name, "1"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	file := p.save()
	status, err := p.worker.Status(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	served, err := Serve(t.Context(), clock.RealClock{}, p.worker, file, scratch, status)
	if err != nil {
		t.Fatal(err)
	}
	if served.Objects < status.Objects()-10 || served.Resources < 15 || served.Kubernetes == "" || served.Encrypted != 0 {
		t.Errorf("served %+v of %d objects", served, status.Objects())
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	more := *status
	more.Resources = nil
	for _, r := range status.Resources {
		if r.Group == "" && r.Name == "configmaps" {
			r.Objects++
			more.Resources = append(more.Resources, r, etcd.Resource{Name: "secrets", Objects: 3, Encrypted: 3})
		}
	}
	if _, err := Serve(t.Context(), clock.RealClock{}, p.worker, file, scratch, &more); !errors.Is(err, etcd.ErrUnproven) || !strings.Contains(err.Error(), "of configmaps an API server lists") {
		t.Errorf("one is missing: %v", err)
	}
}
