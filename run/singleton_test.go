// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"k8s.io/apimachinery/pkg/runtime"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// TestStuck: `objects` puts manifests in place for all that follow in the file;
// `stuck` takes more, and shows what an operator reads who wants to maintain
// nodes=(...), with the flag surge or without it.
func TestStuck(t *testing.T) {
	datadriven.Walk(t, "testdata/stuck", func(t *testing.T, path string) {
		var common []runtime.Object
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			objs, err := cluster.DecodeManifests(strings.NewReader(d.Input))
			if err != nil {
				return "error: " + err.Error()
			}
			if d.Cmd == "objects" {
				common = objs
				return fmt.Sprintf("%d objects", len(objs))
			}
			s, err := cluster.FromObjects(testTime, append(slices.Clone(common), objs...)...)
			if err != nil {
				return "error: " + err.Error()
			}
			spec := &Spec{SurgeSingletons: d.HasArg("surge")}
			var stuck []event.Remaining
			var surges []string
			for _, arg := range d.CmdArgs {
				if arg.Key != "nodes" {
					continue
				}
				for _, name := range arg.Vals {
					spec.Nodes = append(spec.Nodes, Target{Name: name})
					more, surge := neverLeave(name, s.Node(name).Pods, spec.SurgeSingletons)
					stuck = append(stuck, more...)
					for _, p := range surge {
						surges = append(surges, p.Name)
					}
				}
			}
			var b strings.Builder
			if len(surges) > 0 {
				fmt.Fprintf(&b, "surged: %s\n", strings.Join(surges, ", "))
			}
			if len(stuck) == 0 {
				return b.String() + "nothing is in the way\n"
			}
			fmt.Fprintf(&b, "%s\nhint: %s\n", stuckText(stuck), stuckHint(stuck, spec, len(s.Nodes)))
			return b.String()
		})
	})
}
