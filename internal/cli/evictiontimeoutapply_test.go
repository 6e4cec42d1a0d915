// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/toleration"
)

// Whenever somebody interrupts it, also while the last workload is being written: that
// is an interruption, and every workload is accounted for.
func TestInterruptedEvictionTimeoutSet(t *testing.T) {
	for _, tt := range []struct {
		name    string
		at      string // the write that is cut off; "": none
		err     error  // of the write at
		results string
		code    int
		says    string
	}{
		{"not at all", "", nil, "a changed, b changed", exitDone, ""},
		{"at the first", "a", context.Canceled, "a failed, b left", exitUnfinished, "Deployment shop/a may have been changed"},
		{"at the last", "b", context.Canceled, "a changed, b failed", exitUnfinished, "interrupted; what is listed was changed"},
		{"after the last", "b", nil, "a changed, b changed", exitDone, ""},
		{"refused by the server", "a", errors.New("no"), "a failed, b changed", exitFailed, "change Deployment shop/a: no"},
	} {
		for _, output := range []string{"text", "json"} {
			t.Run(tt.name+", "+output, func(t *testing.T) {
				client := fake.NewClientset(deployment("a"), deployment("b"))
				targets, err := toleration.List(t.Context(), client, "shop", nil)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				client.PrependReactor("patch", "deployments", func(action clienttesting.Action) (bool, runtime.Object, error) {
					if patch, ok := action.(clienttesting.PatchAction); !ok || patch.GetName() != tt.at {
						return false, nil, nil
					}
					if tt.err == nil || errors.Is(tt.err, context.Canceled) {
						cancel()
					}
					return tt.err != nil, nil, tt.err
				})
				var out bytes.Buffer
				a := &app{IOStreams: genericiooptions.IOStreams{Out: &out, ErrOut: &out}, output: output}
				err = a.applyChanges(ctx, client, toleration.Plan(targets, 30, toleration.Defaults(&cluster.Snapshot{})), drain.DryRunNone)
				if code := exitCode(err); code != tt.code || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("exit %d, %v", code, err)
				}
				if output == "text" {
					for _, name := range []string{"a", "b"} {
						if strings.Contains(out.String(), "Deployment shop/"+name+" eviction timeout set to 30s\n") != strings.Contains(tt.results, name+" changed") {
							t.Errorf("%s:\n%s", name, out.String())
						}
					}
					return
				}
				var got timeoutsSet
				if err := json.Unmarshal(out.Bytes(), &got); err != nil {
					t.Fatalf("%v: %s", err, out.String())
				}
				var results []string
				for _, w := range got.Workloads {
					results = append(results, w.Name+" "+w.Result)
				}
				if text := strings.Join(results, ", "); text != tt.results {
					t.Errorf("%s, want %s", text, tt.results)
				}
			})
		}
	}
}

func deployment(name string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
}
