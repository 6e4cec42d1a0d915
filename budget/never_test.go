// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"k8s.io/apimachinery/pkg/runtime"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// TestNever: `objects` puts manifests in place for all that follow in the file;
// `never` takes more, and says of each pod whether it can ever be evicted.
func TestNever(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
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
			s, err := cluster.FromObjects(time.Time{}, append(slices.Clone(common), objs...)...)
			if err != nil {
				return "error: " + err.Error()
			}
			var b strings.Builder
			for _, p := range s.Pods {
				now, running := budget.Never(p), budget.NeverOnceRunning(p)
				switch {
				case running == nil:
					if blocker, stays := budget.Uncomputable(p); stays {
						fmt.Fprintf(&b, "%s stays for now (%s): %s\n", p.Name, blocker.Cause, blocker.Message)
						continue
					}
					fmt.Fprintf(&b, "%s may go\n", p.Name)
					continue
				case now == nil:
					fmt.Fprintf(&b, "%s may go as long as it is pending\n", p.Name)
				}
				refusal := budget.Refusal(running)
				fmt.Fprintf(&b, "%s stays (%s): %s\n", p.Name, refusal.Cause, refusal.Message)
			}
			return b.String()
		})
	})
}
