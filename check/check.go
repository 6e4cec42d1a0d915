// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/placement"
)

// Run returns everything worth telling about the cluster before maintenance,
// sorted. The snapshot's own findings (Unread) are among it.
func Run(s *cluster.Snapshot) []cluster.Finding {
	c := &checker{s: s, room: placement.New(s), codes: map[string]cluster.Code{}, moving: map[string][]*cluster.Pod{}}
	for _, code := range Codes() {
		c.codes[code.Name] = code
	}
	for _, p := range s.Pods {
		if moves(p) {
			c.moving[p.Namespace] = append(c.moving[p.Namespace], p)
		}
	}
	for _, check := range []func(*checker){
		checkNodes,
		checkBudgets,
		checkTwoBudgets,
		checkPods,
		checkWorkloads,
		checkRoom,
		checkWebhooks,
		checkVersions,
	} {
		check(c)
	}
	c.findings = append(c.findings, s.Unread...)
	cluster.SortFindings(c.findings)
	return c.findings
}

// checker collects findings.
type checker struct {
	s        *cluster.Snapshot
	room     *placement.Room
	codes    map[string]cluster.Code
	moving   map[string][]*cluster.Pod // those that a drain would make leave, by namespace
	findings []cluster.Finding
}

// add tells about object; severity and hint are the code's.
func (c *checker) add(code string, object cluster.Object, format string, args ...any) {
	c.findings = append(c.findings, cluster.Finding{
		Severity: c.codes[code].Severity,
		Code:     code,
		Object:   object,
		Message:  fmt.Sprintf(format, args...),
		Hint:     c.codes[code].Do,
	})
}

// moves tells whether a drain of its node would make pod leave: it is bound to a
// node, has not finished, and is neither a static pod nor of a DaemonSet.
func moves(p *cluster.Pod) bool {
	return p.Host != nil && !budget.Finished(p.Pod) && !p.Mirror() && !p.DaemonSet()
}

func nodeObject(n *cluster.Node) cluster.Object { return cluster.Object{Kind: "Node", Name: n.Name} }

func podObject(p *cluster.Pod) cluster.Object {
	return cluster.Object{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}
}

// most is how many names a message lists before it counts the rest.
const most = 3

// some lists names, the rest of many as a number.
func some(names []string) string {
	if len(names) <= most+1 { // "and 1 more" is no shorter than the one
		return strings.Join(names, ", ")
	}
	return phrase.Few(names, most)
}

// groups collects pods under keys, in the order in which the keys appear.
type groups[K comparable] struct {
	keys []K
	pods map[K][]*cluster.Pod
}

func (g *groups[K]) add(key K, p *cluster.Pod) {
	if g.pods == nil {
		g.pods = map[K][]*cluster.Pod{}
	}
	if _, known := g.pods[key]; !known {
		g.keys = append(g.keys, key)
	}
	g.pods[key] = append(g.pods[key], p)
}

// raw returns the API objects of pods.
func raw(pods []*cluster.Pod) []*corev1.Pod {
	out := make([]*corev1.Pod, len(pods))
	for i, p := range pods {
		out[i] = p.Pod
	}
	return out
}
