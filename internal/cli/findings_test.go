// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"refit.dev/refit/cluster"
)

func someFindings() findings {
	return findings{nodes: 3, pods: 1, all: []cluster.Finding{
		{Severity: cluster.Blocker, Code: "budget-never-allows", Object: cluster.Object{Kind: "PodDisruptionBudget", Namespace: "shop", Name: "a"}, Message: "never lets a pod go", Hint: "demand less"},
		{Severity: cluster.Blocker, Code: "budget-never-allows", Object: cluster.Object{Kind: "PodDisruptionBudget", Namespace: "shop", Name: "b"}, Message: "never\neither\t\x1b[31m", Hint: "demand less"},
		{Severity: cluster.Warning, Code: "unread-resource", Object: cluster.Object{Kind: "Resource", Name: "services"}, Message: "could not be read", Hint: "allow services"},
		{Severity: cluster.Warning, Code: "unread-resource", Object: cluster.Object{Kind: "Resource", Name: "volumes"}, Message: "could not be read", Hint: "allow volumes"},
		{Severity: cluster.Info, Code: "note", Object: cluster.Object{Kind: "Node", Name: "n"}, Message: "is there"},
	}}
}

func TestFindingsFormats(t *testing.T) {
	for format, want := range map[string]string{
		"text": `BLOCKER budget-never-allows
  PodDisruptionBudget shop/a: never lets a pod go
  PodDisruptionBudget shop/b: never\neither\t\u001b[31m
  hint: demand less

WARNING unread-resource
  Resource services: could not be read
  hint: allow services
  Resource volumes: could not be read
  hint: allow volumes

INFO note
  Node n: is there

3 nodes, 1 pod: 2 blockers, 2 warnings, 1 info
`,
		"wide": `SEVERITY  CODE                 OBJECT                      MESSAGE
blocker   budget-never-allows  PodDisruptionBudget shop/a  never lets a pod go
blocker   budget-never-allows  PodDisruptionBudget shop/b  never\neither\t\u001b[31m
warning   unread-resource      Resource services           could not be read
warning   unread-resource      Resource volumes            could not be read
info      note                 Node n                      is there
`,
		"yaml": `counts:
  blocker: 2
  info: 1
  warning: 2
findings:
- code: budget-never-allows
  hint: demand less
  message: never lets a pod go
  object:
    kind: PodDisruptionBudget
    name: a
    namespace: shop
  severity: blocker
`,
	} {
		var out bytes.Buffer
		if err := someFindings().write(&out, format, false); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if got := out.String(); got != want && (format != "yaml" || !strings.HasPrefix(got, want)) {
			t.Errorf("%s:\n%s\nwant:\n%s", format, got, want)
		}
	}
}

func TestFindingsAsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := someFindings().write(&out, "json", true); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Findings []cluster.Finding `json:"findings"`
		Counts   map[string]int    `json:"counts"`
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Findings) != 5 || got.Findings[1] != someFindings().all[1] || got.Counts["blocker"] != 2 || got.Counts["warning"] != 2 || got.Counts["info"] != 1 {
		t.Errorf("got %+v", got)
	}
	out.Reset()
	if err := (findings{}).write(&out, "json", false); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, `"findings": []`) || !strings.Contains(text, `"blocker": 0`) {
		t.Errorf("nothing found: %s", text)
	}
}

func TestFindingsInColour(t *testing.T) {
	text := someFindings().text(true)
	if !strings.Contains(text, "\x1b[31;1mBLOCKER\x1b[0m ") || strings.Contains(text, "\t\x1b[31m") {
		t.Errorf("%q", text)
	}
	if got := (findings{nodes: 1}).text(true); got != "1 node, 0 pods: nothing found\n" {
		t.Errorf("%q", got)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestFindingsThatCannotBeWritten(t *testing.T) {
	for _, format := range []string{"text", "wide", "json", "yaml"} {
		if err := someFindings().write(brokenPipe{}, format, false); err == nil {
			t.Errorf("%s: no error", format)
		}
	}
}
