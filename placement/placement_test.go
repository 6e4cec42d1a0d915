// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/placement"
)

// TestTranscripts: `cluster` takes manifests; `fits POD` shows what speaks
// against each node, `anywhere POD without=(NODE...)` where the pod would go.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s *cluster.Snapshot
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "cluster" {
				var err error
				if s, err = cluster.FromManifests(time.Time{}, strings.NewReader(d.Input)); err != nil {
					return "error: " + err.Error()
				}
				return fmt.Sprintf("%d nodes, %d pods", len(s.Nodes), len(s.Pods))
			}
			pod := s.Pod("shop", d.CmdArgs[0].Key)
			if pod == nil {
				t.Fatalf("%s: no pod %s", d.Pos, d.CmdArgs[0].Key)
			}
			var b strings.Builder
			switch d.Cmd {
			case "fits":
				for _, n := range s.Nodes {
					fmt.Fprintf(&b, "%s: %s\n", n.Name, orYes(placement.Fits(s, pod.Pod, n)))
				}
			case "anywhere":
				var without []string
				if d.HasArg("without") {
					for _, arg := range d.CmdArgs {
						if arg.Key == "without" {
							without = arg.Vals
						}
					}
				}
				node, reasons := placement.Anywhere(s, pod.Pod, without)
				if node != "" {
					return node
				}
				return "nowhere: " + strings.Join(reasons, "; ")
			default:
				t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
			}
			return b.String()
		})
	})
}

func orYes(reasons []string) string {
	if len(reasons) == 0 {
		return "yes"
	}
	return strings.Join(reasons, "; ")
}

// TestAPodThatIsNotInTheSnapshot: a pod about to be created is judged like any other.
func TestAPodThatIsNotInTheSnapshot(t *testing.T) {
	s, err := cluster.FromObjects(time.Time{}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "new", Namespace: "shop"}}
	if node, reasons := placement.Anywhere(s, pod, nil); node != "node-1" {
		t.Error(reasons)
	}
	pod.Spec.NodeSelector = map[string]string{"disk": "fast"}
	if node, reasons := placement.Anywhere(s, pod, nil); node != "" || len(reasons) != 1 {
		t.Error(node, reasons)
	}
}
