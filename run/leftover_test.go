// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"refit.dev/refit/cluster"
)

func TestLeftCordoned(t *testing.T) {
	var nodes []runtime.Object
	spec := &Spec{}
	for _, n := range []struct {
		name, run        string
		marked, cordoned bool
		before           bool // somebody else cordoned it first
	}{
		{"a", "", false, false, false}, {"b", "", false, true, false}, {"c", "", true, true, false}, {"d", "drain-1", true, true, false},
		{"e", "r1", true, true, false}, {"f", "r2", true, true, false}, {"g", "r1", true, true, false}, {"h", "r1", true, false, false},
		{"i", "r1", true, true, true},
	} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}}
		if n.marked {
			node.Annotations = map[string]string{cluster.CordonAnnotation: cluster.Mark{Run: n.run, WasUnschedulable: n.before}.Annotation()}
		}
		nodes = append(nodes, node)
		spec.Nodes = append(spec.Nodes, Target{Name: n.name, Unschedulable: n.cordoned})
	}
	s, err := cluster.FromObjects(time.Time{}, nodes...)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(leftCordoned(s, spec), "\n")
	want := `node b is cordoned already: it is maintained and stays cordoned
node c is cordoned already: it is maintained and stays cordoned
node d is cordoned already, by refit drain: it is maintained and stays cordoned; refit uncordon d brings it back
node i is cordoned already: it is maintained and stays cordoned
run r1 has cordoned e, g and not brought them back: refit runs resume r1 carries it on, refit runs abort r1 uncordons them; a new run maintains them from the start and leaves them cordoned
run r2 has cordoned f and not brought it back: refit runs resume r2 carries it on, refit runs abort r2 uncordons it; a new run maintains it from the start and leaves it cordoned`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
