// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"refit.dev/refit/event"
)

// start is the time of second 0 in the transcripts.
var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// parseEvents reads events as the transcripts write them, one a line:
//
//	SECONDS TYPE [key=value ...]
//
// A value with spaces or escapes is a quoted Go string. A line that begins with
// "left" adds a pod to what the event above it leaves behind.
func parseEvents(t *testing.T, input string) []event.Event {
	t.Helper()
	var events []event.Event
	for line := range strings.SplitSeq(strings.TrimSpace(input), "\n") {
		words := split(t, line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "left" {
			var e event.Event
			set(t, &e, words[1:])
			last := &events[len(events)-1]
			last.Remaining = append(last.Remaining, event.Remaining{Node: e.Node, Pod: *e.Pod, Blocker: *e.Blocker})
			continue
		}
		seconds, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		e := event.Event{Time: at(seconds), Type: event.Type(words[1])}
		set(t, &e, words[2:])
		events = append(events, e)
	}
	return events
}

func split(t *testing.T, line string) []string {
	t.Helper()
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if i := strings.IndexAny(line, "= "); i >= 0 && line[i] == '=' && strings.HasPrefix(line[i+1:], `"`) {
			key, rest := line[:i+1], line[i+1:]
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			words, line = append(words, key+value), rest[len(quoted):]
			continue
		}
		word, after, _ := strings.Cut(line, " ")
		words, line = append(words, word), after
	}
	return words
}

func set(t *testing.T, e *event.Event, pairs []string) {
	t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	counts := func() *event.Counts {
		if e.Counts == nil {
			e.Counts = &event.Counts{}
		}
		return e.Counts
	}
	blocker := func() *event.Blocker {
		if e.Blocker == nil {
			e.Blocker = &event.Blocker{}
		}
		return e.Blocker
	}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "run":
			e.Run = value
		case "node":
			e.Node = value
		case "nodes":
			e.Nodes = nodeNames(value)
		case "phase":
			e.Phase = event.Phase(value)
		case "pods":
			e.Pods = number(value)
		case "pod":
			namespace, name, _ := strings.Cut(value, "/")
			e.Pod = &event.Pod{Namespace: namespace, Name: name}
		case "message":
			e.Message = value
		case "reason":
			e.Reason = value
		case "hint":
			e.Hint = value
		case "seconds":
			e.Seconds, _ = strconv.ParseFloat(value, 64)
		case "result":
			e.Result = event.Result(value)
		case "evicted":
			counts().Evicted = number(value)
		case "skipped":
			counts().Skipped = number(value)
		case "blocked":
			counts().Blocked = number(value)
		case "cause":
			blocker().Cause = event.Cause(value)
		case "why":
			blocker().Message = value
		case "do":
			blocker().Hint = value
		case "unready":
			blocker().Budgets = []event.Budget{{Namespace: "shop", Name: "cart", Unready: strings.Split(value, ",")}}
		default:
			t.Fatalf("no key %q", key)
		}
	}
}

// nodeNames expands node-01..node-12 and splits at commas.
func nodeNames(s string) []string {
	first, last, ok := strings.Cut(s, "..")
	if !ok {
		return strings.Split(s, ",")
	}
	var from, to int
	_, _ = fmt.Sscanf(first, "node-%d", &from)
	_, _ = fmt.Sscanf(last, "node-%d", &to)
	var names []string
	for i := from; i <= to; i++ {
		names = append(names, fmt.Sprintf("node-%02d", i))
	}
	return names
}
