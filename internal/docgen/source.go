// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// events is the reference of what `-o json` writes: the types of the package
// event with the comments that stand at them.
func events(path string) (string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return "", err
	}
	values, members := names(file)
	var b strings.Builder
	b.WriteString("# Events\n\n" +
		"Long operations write one event a line with `-o json`, as it happens; the last one is of type `summary`. Fields that do\n" +
		"not apply are left out. Types, causes and fields may be added, none changes its name.\n")
	for _, part := range []struct{ title, kind string }{
		{"Types", "Type"}, {"Phases of a node", "Phase"}, {"Causes for which a pod stays", "Cause"}, {"Results", "Result"},
	} {
		rows := constants(file, part.kind)
		if len(rows) == 0 {
			return "", fmt.Errorf("%s: no constants of type %s", path, part.kind)
		}
		fmt.Fprintf(&b, "\n## %s\n\n| | |\n|---|---|\n", part.title)
		for _, r := range rows {
			fmt.Fprintf(&b, "| `%s` | %s |\n", r.value, cell(sentence(r, values, members)))
		}
	}
	for _, part := range []struct{ title, kind string }{
		{"Fields of an event", "Event"}, {"Fields of `counts`, which stand in the event itself", "Counts"}, {"Fields of a pod", "Pod"}, {"Fields of `object`", "Object"},
		{"Fields of `blocker`", "Blocker"}, {"Fields of a budget", "Budget"}, {"Fields of `remaining`", "Remaining"},
	} {
		rows := fields(file, part.kind)
		if len(rows) == 0 {
			return "", fmt.Errorf("%s: no fields of type %s", path, part.kind)
		}
		fmt.Fprintf(&b, "\n## %s\n\n| | type | |\n|---|---|---|\n", part.title)
		for _, r := range rows {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.name, r.value, cell(r.comment))
		}
	}
	return b.String(), nil
}

// exitCodes is the reference of the exit codes.
func exitCodes(path string) (string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# Exit codes\n\n| | |\n|---|---|\n")
	rows := constants(file, "")
	if len(rows) == 0 {
		return "", errors.New("no exit codes in " + path)
	}
	for _, r := range rows {
		meaning := r.comment
		if meaning == "" {
			meaning = strings.ToLower(strings.TrimPrefix(r.name, "exit"))
		}
		fmt.Fprintf(&b, "| %s | %s |\n", r.value, cell(meaning))
	}
	return b.String(), nil
}

// described is a constant or a field with its comment.
type described struct {
	name, value, comment string
	goName               string // of a field, whose name is that of JSON
}

// constants returns the constants of a type ("" for those without one), in order.
// A comment that explains several stands at each of them.
func constants(file *ast.File, kind string) []described {
	var out []described
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		before := ""
		for _, spec := range group.Specs {
			v := spec.(*ast.ValueSpec)
			if typeName(v.Type) != kind || len(v.Values) != 1 {
				continue
			}
			literal, ok := v.Values[0].(*ast.BasicLit)
			if !ok {
				continue
			}
			value := literal.Value
			if s, err := strconv.Unquote(value); err == nil {
				value = s
			}
			comment := text(v.Doc, v.Comment)
			if comment == "" && strings.Contains(before, " and "+v.Names[0].Name) {
				comment = before
			}
			before = comment
			out = append(out, described{name: v.Names[0].Name, value: value, comment: comment})
		}
	}
	return out
}

// fields returns the fields of a struct by the names that JSON has for them.
func fields(file *ast.File, kind string) []described {
	var out []described
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != kind {
			return true
		}
		body, ok := spec.Type.(*ast.StructType)
		if !ok {
			return false
		}
		for _, f := range body.Fields.List {
			if f.Tag == nil {
				continue
			}
			tag, err := strconv.Unquote(f.Tag.Value)
			if err != nil {
				continue
			}
			name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
			d := described{name: name, value: jsonType(f.Type), comment: text(f.Doc, f.Comment), goName: name}
			if len(f.Names) == 1 {
				d.goName = f.Names[0].Name
				d.comment = strings.TrimPrefix(d.comment, d.goName+" are ")
			}
			out = append(out, d)
		}
		return false
	})
	return out
}

func typeName(e ast.Expr) string {
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// jsonType says what a reader of JSON gets.
func jsonType(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.StarExpr:
		return jsonType(t.X)
	case *ast.ArrayType:
		return "list of " + jsonType(t.Elt)
	case *ast.MapType:
		return "object"
	case *ast.SelectorExpr:
		return strings.ToLower(t.Sel.Name)
	case *ast.Ident:
		switch t.Name {
		case "int", "int32", "int64", "float64":
			return "number"
		case "bool":
			return "true or false"
		case "string", "Type", "Phase", "Cause", "Result", "Fate", "Mode", "Source":
			return "string"
		}
		return strings.ToLower(t.Name)
	}
	return ""
}

func text(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if t := strings.TrimSpace(g.Text()); t != "" {
			return strings.Join(strings.Fields(t), " ")
		}
	}
	return ""
}

// sentence puts what JSON has into the place of the names that Go has: the
// constants' values, and behind a colon, where the comment lists the fields
// that are set, the fields' names.
func sentence(d described, values, fields map[string]string) string {
	text := strings.TrimPrefix(d.comment, d.name+": ")
	text = regexp.MustCompile(`[A-Z]\w+`).ReplaceAllStringFunc(text, func(word string) string {
		if v, ok := values[word]; ok {
			return "`" + v + "`"
		}
		return word
	})
	lead, list, ok := strings.Cut(text, ": ")
	if !ok {
		return text
	}
	return lead + ": " + regexp.MustCompile(`\b[A-Z]\w+`).ReplaceAllStringFunc(list, func(word string) string {
		if f, ok := fields[word]; ok {
			return "`" + f + "`"
		}
		return word
	})
}

// names maps what the file calls its constants and the fields of Event to what
// JSON calls them.
func names(file *ast.File) (values, members map[string]string) {
	values, members = map[string]string{}, map[string]string{}
	for _, kind := range []string{"Type", "Phase", "Cause", "Result"} {
		for _, d := range constants(file, kind) {
			values[d.name] = d.value
		}
	}
	for _, f := range fields(file, "Event") {
		members[f.goName] = f.name
	}
	return values, members
}
