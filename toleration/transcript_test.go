// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package toleration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"refit.dev/refit/cluster"
)

// TestTranscripts: `survey` shows what is in force for the manifests, and server=
// what the API server says of itself; `plan` shows what setting SECONDS means for
// them. A second command takes the manifests of the one before if it has none.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var objs []runtime.Object
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Input != "" {
				var err error
				if objs, err = cluster.DecodeManifests(strings.NewReader(d.Input)); err != nil {
					return "error: " + err.Error()
				}
			}
			switch d.Cmd {
			case "survey":
				var cronJobs []*Target
				others := slices.DeleteFunc(slices.Clone(objs), func(obj runtime.Object) bool {
					_, is := obj.(*batchv1.CronJob)
					if is && !d.HasArg("cronjobs-forbidden") {
						cronJobs = append(cronJobs, target(obj))
					}
					return is
				})
				s, err := cluster.FromObjects(time.Time{}, others...)
				if err != nil {
					return "error: " + err.Error()
				}
				s.Server = "v1.37.2"
				d.MaybeScanArgs(t, "server", &s.Server)
				var in Scope
				d.MaybeScanArgs(t, "namespace", &in.Namespace)
				var selector string
				if d.MaybeScanArgs(t, "labels", &selector); selector != "" {
					if in.Labels, err = labels.Parse(selector); err != nil {
						t.Fatal(err)
					}
				}
				return drawReport(Survey(s, cronJobs, in))
			case "plan":
				var seconds int64
				d.ScanArgs(t, "seconds", &seconds)
				var targets []*Target
				for _, obj := range objs {
					targets = append(targets, target(obj))
				}
				return drawChanges(Plan(sorted(targets), seconds, Defaults(&cluster.Snapshot{})))
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

func drawReport(r *Report) string {
	var b strings.Builder
	for _, d := range r.Defaults {
		fmt.Fprintf(&b, "%s: %s (%s)\n", d.Taint, d.Patience(), d.Source)
	}
	for _, w := range r.Workloads {
		fmt.Fprintf(&b, "%s %s/%s: %s (%s), %s (%s), %d pods: %s\n", w.Kind, w.Namespace, w.Name,
			w.NotReady, w.NotReady.Source, w.Unreachable, w.Unreachable.Source, w.Pods, w.Why)
	}
	for _, o := range r.Older {
		fmt.Fprintf(&b, "older: %s %s/%s: %d pods with %s, %s\n", o.Kind, o.Namespace, o.Name, o.Pods, o.NotReady, o.Unreachable)
	}
	fmt.Fprintf(&b, "%d with the defaults, %d DaemonSets\n", r.Same, r.DaemonSets)
	for _, remark := range r.Remarks {
		fmt.Fprintf(&b, "note: %s\n", remark)
	}
	return b.String()
}

func drawChanges(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		switch {
		case c.Refused != "":
			fmt.Fprintf(&b, "%s: refused: %s\n", c.Object(), c.Refused)
			continue
		case c.Unchanged:
			fmt.Fprintf(&b, "%s: unchanged\n", c.Object())
			continue
		}
		fmt.Fprintf(&b, "%s: %s -> %s\n  %s\n", c.Object(), c.Before, Duration(c.Seconds), c.Effect)
		for _, w := range c.Warnings {
			fmt.Fprintf(&b, "  warning: %s\n", w)
		}
		var set []string
		for _, x := range Set(c.Tolerations, c.Seconds) {
			text := fmt.Sprintf("%s:%s", x.Key, x.Effect)
			if x.Value != "" {
				text = fmt.Sprintf("%s=%s:%s", x.Key, x.Value, x.Effect)
			}
			if x.TolerationSeconds != nil {
				text += fmt.Sprintf(" %ds", *x.TolerationSeconds)
			}
			set = append(set, strings.ReplaceAll(text, "node.kubernetes.io/", ""))
		}
		fmt.Fprintf(&b, "  [%s]\n", strings.Join(slices.Clip(set), ", "))
	}
	return b.String()
}
