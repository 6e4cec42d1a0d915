// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
)

// form is a struct whose JSON is described: kind in the file path.
type form struct{ title, path, kind string }

// outageForms are what `refit outage` and `refit eviction-timeout` write with -o json.
func outageForms() []form {
	forecast, rank, survey := "outage/forecast.go", "outage/rank.go", "toleration/survey.go"
	apply := "internal/cli/evictiontimeoutapply.go"
	return []form{
		{"`refit outage`", forecast, "Forecast"},
		{"Fields of `nodes`", forecast, "Node"},
		{"Fields of `zones`", forecast, "Zone"},
		{"Fields of `pods`", forecast, "Pod"},
		{"Fields of `replacement`", forecast, "Replacement"},
		{"Fields of `volumes`", forecast, "Volume"},
		{"Fields of `workloads`", forecast, "Workload"},
		{"Fields of `steps`", forecast, "Step"},
		{"Fields of a moment", forecast, "Moment"},
		{"Fields of `parameters`, beside the others in every forecast and ranking, as is `assumptions`: a list of sentences", "outage/parameters.go", "Row"},
		{"`refit outage --all`: fields of `nodes`, with `rank` from 1 on; `forSeconds` is beside it", rank, "Hurt"},
		{"`refit eviction-timeout get`", survey, "Report"},
		{"Fields of `defaults`, and of `flags`, which have `wantedSeconds` beside them", "toleration/defaults.go", "Default"},
		{"Fields of `servers`", "toleration/defaults.go", "Server"},
		{"Fields of its `workloads`", survey, "Workload"},
		{"Fields of `olderPods`", survey, "Older"},
		{"Fields of a patience", "toleration/patience.go", "Patience"},
		{"`refit eviction-timeout set`", apply, "timeoutsSet"},
		{"Fields of its `workloads`", apply, "timeoutSet"},
	}
}

// outages is the reference of outageForms.
func outages(root string) (string, error) {
	var b strings.Builder
	b.WriteString("# The JSON of outage and eviction-timeout\n\n" +
		"`refit outage` and `refit eviction-timeout` write a single object with `-o json`. Fields may be added, none changes its name.\n" +
		"Times are seconds since the loss of the nodes.\n")
	for _, f := range outageForms() {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, f.path), nil, parser.ParseComments)
		if err != nil {
			return "", err
		}
		rows := fields(file, f.kind)
		if len(rows) == 0 {
			return "", fmt.Errorf("%s: no fields of type %s", f.path, f.kind)
		}
		members := map[string]string{}
		for _, r := range rows {
			members[r.goName] = r.name
		}
		fmt.Fprintf(&b, "\n## %s\n\n| | type | |\n|---|---|---|\n", f.title)
		before := ""
		for _, r := range rows {
			if r.comment == "" && strings.Contains(before, r.goName) { // one comment for several
				r.comment = before
			}
			before = r.comment
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.name, r.value, cell(spoken(r.comment, members)))
		}
		if f.kind == "Pod" {
			if err := writeFates(&b, file); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

func writeFates(b *strings.Builder, file *ast.File) error {
	rows := constants(file, "Fate")
	if len(rows) == 0 {
		return fmt.Errorf("no constants of type Fate")
	}
	b.WriteString("\n## Fates\n\n| | |\n|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| `%s` | %s |\n", r.value, cell(strings.TrimPrefix(r.comment, r.name+": ")))
	}
	return nil
}

// spoken puts the names of JSON into the place of those of Go, and null into that of nil.
func spoken(comment string, members map[string]string) string {
	return regexp.MustCompile(`\b(nil|[A-Z]\w+)\b`).ReplaceAllStringFunc(comment, func(word string) string {
		if word == "nil" {
			return "null or left out"
		}
		if name, ok := members[word]; ok {
			return "`" + name + "`"
		}
		return word
	})
}
