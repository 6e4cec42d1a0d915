// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	policyv1 "k8s.io/api/policy/v1"
)

// parseTown reads the language of the transcripts. Each line is a thing, its name
// and what there is to say of it:
//
//	node NAME... [zone=Z] [cpu=2] [memory=8] [pods=20] [control-plane] [cordoned] [uncordoned] [broken] [fast] [dedicated]
//	KIND NAME on=NODE,NODE... [cpu=0.1] [memory=0.1] [start=5] [grace=1] [apart] [spread=1] [fast] [tolerant] [port=80] [zonal]
//	     with [replicas=N] [unready=0,1] [pending=0] [terminating=0] for pods by their index; [recent]: since seconds ago
//	budget NAME for=APP,APP min=N|max=N [AlwaysAllow|IfHealthyBudget] [uncomputable]
//	maintain NODE...|all [slots=1] [zone-slots=N] [moves=1.05] [work=60] [soak=0]
//
// KIND is deployment, statefulset, daemonset, job or pod. `a..d` are the names from a
// to d, for a name that ends in a number: n1..n4. CPU is in cores, memory in GiB, time in seconds.
func parseTown(text string) (*town, error) {
	t := &town{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		x := sentence{facts: map[string]string{}}
		for _, w := range words[1:] {
			key, value, found := strings.Cut(w, "=")
			if found {
				x.facts[key] = value
			} else {
				x.words = append(x.words, w)
			}
		}
		if err := t.add(words[0], x); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
	}
	return t, nil
}

// sentence is a line without its first word.
type sentence struct {
	words []string
	facts map[string]string
}

func (x sentence) says(word string) bool { return slices.Contains(x.words, word) }

func (x sentence) number(key string, otherwise float64) float64 {
	if n, err := strconv.ParseFloat(x.facts[key], 64); err == nil {
		return n
	}
	return otherwise
}

func (x sentence) list(key string) []string {
	return strings.FieldsFunc(x.facts[key], func(r rune) bool { return r == ',' })
}

// names are the words that are no flags, ranges written out.
func (x sentence) names(flags ...string) (list []string) {
	for _, w := range x.words {
		if !slices.Contains(flags, w) {
			list = append(list, spelled(w)...)
		}
	}
	return list
}

func spelled(w string) (list []string) {
	first, last, found := strings.Cut(w, "..")
	if !found {
		return []string{w}
	}
	stem := strings.TrimRight(first, "0123456789")
	from, _ := strconv.Atoi(first[len(stem):])
	to, _ := strconv.Atoi(strings.TrimPrefix(last, stem))
	for i := from; i <= to; i++ {
		list = append(list, stem+strconv.Itoa(i))
	}
	return list
}

func (t *town) add(what string, x sentence) error {
	switch what {
	case "node":
		for _, name := range x.names("control-plane", "cordoned", "uncordoned", "broken", "fast", "dedicated") {
			t.nodes = append(t.nodes, townNode{
				name: name, zone: x.facts["zone"], cpu: int64(x.number("cpu", 2) * 1000), memory: int64(x.number("memory", 8) * 1024), pods: int64(x.number("pods", 20)),
				controlPlane: x.says("control-plane"), cordoned: x.says("cordoned"), uncordoned: x.says("uncordoned"), broken: x.says("broken"), fast: x.says("fast"), dedicated: x.says("dedicated"),
			})
		}
	case "deployment", "statefulset", "daemonset", "job", "pod":
		return t.addApp(map[string]string{"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet", "job": "Job", "pod": "Pod"}[what], x)
	case "budget":
		return t.addBudget(x)
	case "maintain":
		in := &t.intent
		in.Nodes = x.names()
		if x.says("all") {
			in.Nodes = nil
			for i := range t.nodes {
				in.Nodes = append(in.Nodes, t.nodes[i].name)
			}
		}
		slices.Sort(in.Nodes)
		in.MaxUnavailable, in.MaxUnavailablePerZone = int(x.number("slots", 1)), int(x.number("zone-slots", 0))
		in.MaxMoves = x.number("moves", 1.05)
		in.Work, in.Soak = time.Duration(x.number("work", 60))*time.Second, time.Duration(x.number("soak", 0))*time.Second
	default:
		return fmt.Errorf("unknown: %s", what)
	}
	return nil
}

func (t *town) addApp(kind string, x sentence) error {
	a := townApp{
		name: x.words[0], kind: kind, cpu: int64(x.number("cpu", 0.1) * 1000), memory: int64(x.number("memory", 0.1) * 1024),
		startup: int(x.number("start", 5)), grace: int(x.number("grace", 0)), apart: x.says("apart"), spread: int32(x.number("spread", 0)),
		recent: x.says("recent"), fast: x.says("fast"), tolerant: x.says("tolerant"), port: int32(x.number("port", 0)), zonal: x.says("zonal"),
	}
	var on []string
	for _, w := range x.list("on") {
		on = append(on, spelled(w)...)
	}
	a.replicas = int(x.number("replicas", float64(len(on))))
	n := len(t.apps)
	t.apps = append(t.apps, a)
	for i, name := range on {
		node := t.node(name)
		if node < 0 {
			return fmt.Errorf("unknown node %s", name)
		}
		index := strconv.Itoa(i)
		p := townPod{name: a.name + "-" + index, app: n, node: node, zone: t.nodes[node].zone}
		p.pending = slices.Contains(x.list("pending"), index)
		p.unready = slices.Contains(x.list("unready"), index) || t.nodes[node].broken
		p.leaving = slices.Contains(x.list("terminating"), index)
		t.pods = append(t.pods, p)
	}
	for i := len(on); i < a.replicas; i++ {
		t.pods = append(t.pods, townPod{name: fmt.Sprintf("%s-%d", a.name, i), app: n, node: -1})
	}
	return nil
}

func (t *town) addBudget(x sentence) error {
	b := townBudget{name: x.words[0], min: x.facts["min"], max: x.facts["max"], uncomputable: x.says("uncomputable")}
	for _, p := range []policyv1.UnhealthyPodEvictionPolicyType{policyv1.AlwaysAllow, policyv1.IfHealthyBudget} {
		if x.says(string(p)) {
			b.policy = p
		}
	}
	apps := x.list("for")
	if len(apps) == 0 {
		apps = []string{b.name}
	}
	for _, name := range apps {
		a := slices.IndexFunc(t.apps, func(a townApp) bool { return a.name == name })
		if a < 0 {
			return fmt.Errorf("unknown app %s", name)
		}
		b.apps = append(b.apps, a)
	}
	t.budgets = append(t.budgets, b)
	return nil
}
