// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
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

// That a restart could not be tried says nothing about whether it would work.
func TestRefusedSurge(t *testing.T) {
	deployments := appsv1.Resource("deployments")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		what    string
		ctx     context.Context
		err     error
		blocked bool
		advice  string
	}{
		{"the API server is busy", t.Context(), apierrors.NewServerTimeout(deployments, "patch", 1), false, ""},
		{"interrupted", ended, context.Canceled, false, ""},
		{"no permission", t.Context(), apierrors.NewForbidden(deployments, "one", nil), true, "permission to patch deployments"},
		{"a webhook says no", t.Context(), apierrors.NewBadRequest("denied"), true, "see why"},
		{"it would not help", t.Context(), cannotSurge("shop", "one", "it is paused"), true, "kubectl edit deployment -n shop one"},
	} {
		err := refusedSurge(c.ctx, "a", c.err)
		_, blocked := errors.AsType[*BlockedError](err)
		if blocked != c.blocked || !strings.HasPrefix(err.Error(), "node a: ") || !contains(hint.Of(err), c.advice) {
			t.Errorf("%s: %v; hint: %s", c.what, err, hint.Of(err))
		}
	}
}
