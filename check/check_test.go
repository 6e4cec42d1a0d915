// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"k8s.io/apimachinery/pkg/runtime"

	"refit.dev/refit/check"
	"refit.dev/refit/cluster"
)

// now is when every transcript plays.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestTranscripts: `objects` puts manifests in place for all that follow in the
// file (a second one replaces them); `check` takes more and shows the findings,
// only=(CODE,...) some of them, hints the hint of each. server= and emulated= are
// what the API server says of itself, unread= a resource that may not be read.
func TestTranscripts(t *testing.T) {
	shown := map[string]bool{}
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
			s, err := cluster.FromObjects(now, append(slices.Clone(common), objs...)...)
			if err != nil {
				return "error: " + err.Error()
			}
			d.MaybeScanArgs(t, "server", &s.Server)
			d.MaybeScanArgs(t, "emulated", &s.Emulated)
			if d.HasArg("unread") {
				var resource string
				d.ScanArgs(t, "unread", &resource)
				s.Unread = append(s.Unread, cluster.Finding{Severity: cluster.Warning, Code: cluster.CodeUnread,
					Object: cluster.Object{Kind: "Resource", Name: resource}, Message: "could not be read"})
			}
			findings := check.Run(s)
			for _, f := range findings {
				shown[f.Code] = true
			}
			return draw(d, findings)
		})
	})
	for _, code := range check.Codes() {
		if !shown[code.Name] && code.Name != cluster.CodeTorn {
			t.Errorf("no transcript shows %s", code.Name)
		}
	}
}

func draw(d *datadriven.TestData, findings []cluster.Finding) string {
	var only []string
	for _, arg := range d.CmdArgs {
		if arg.Key == "only" {
			only = arg.Vals
		}
	}
	var b strings.Builder
	for _, f := range findings {
		if only != nil && !slices.Contains(only, f.Code) {
			continue
		}
		fmt.Fprintf(&b, "%s %s %s: %s\n", f.Severity, f.Code, f.Object, f.Message)
		if d.HasArg("hints") {
			fmt.Fprintf(&b, "  -> %s\n", f.Hint)
		}
	}
	if b.Len() == 0 {
		return "nothing"
	}
	return b.String()
}

// TestCodes: scripts match on the names, and the reference is made of the texts.
func TestCodes(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range check.Codes() {
		if seen[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		seen[c.Name] = true
		if strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyz-") != "" {
			t.Errorf("%s is not in kebab-case", c.Name)
		}
		if !strings.HasSuffix(c.Meaning, ".") || c.Do == "" {
			t.Errorf("%s: meaning %q, do %q", c.Name, c.Meaning, c.Do)
		}
	}
}
