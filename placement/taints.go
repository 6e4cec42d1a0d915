// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	corehelpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"refit.dev/refit/cluster"
)

// taintLists numbers the lists of taints of nodes: a cluster has few. Those that
// come and go with maintenance are lists of their own, the first of which is empty.
type taintLists struct {
	lasting, passing     [][]corev1.Taint
	lastingOf, passingOf []int32 // by node, as it was in the snapshot
	cordoned             []int32 // by number of a passing list: that of the same list with a cordon
}

// tolerance is what a list of tolerations lets a pod onto.
type tolerance struct {
	tolerations []corev1.Toleration
	nodes       nodeSet // by their lasting taints
	passing     []bool  // by list
}

func newTaintLists(nodes []*cluster.Node) taintLists {
	t := taintLists{passing: [][]corev1.Taint{nil}}
	for _, n := range nodes {
		lasting, passing := partTaints(n)
		t.lastingOf = append(t.lastingOf, number(&t.lasting, lasting))
		t.passingOf = append(t.passingOf, number(&t.passing, passing))
	}
	t.addCordons()
	return t
}

// partTaints returns those taints of a node that last, and those that come and go
// with maintenance.
func partTaints(n *cluster.Node) (lasting, passing []corev1.Taint) {
	for _, taint := range taintsOf(n) {
		taint.TimeAdded = nil
		switch {
		case taint.Effect == corev1.TaintEffectPreferNoSchedule:
		case cluster.Passing(&taint):
			passing = append(passing, taint)
		default:
			lasting = append(lasting, taint)
		}
	}
	return lasting, passing
}

// addCordons finds for each passing list that with a cordon.
func (t *taintLists) addCordons() {
	for i := len(t.cordoned); i < len(t.passing); i++ { // the list grows, by lists that are cordoned already
		list := t.passing[i]
		if !slices.ContainsFunc(list, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeUnschedulable }) {
			list = append(slices.Clip(list), corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
		}
		t.cordoned = append(t.cordoned, number(&t.passing, list))
	}
}

// number returns the place of a list among all, where it is put if it is new.
func number(all *[][]corev1.Taint, list []corev1.Taint) int32 {
	i := slices.IndexFunc(*all, func(known []corev1.Taint) bool { return slices.Equal(known, list) })
	if i < 0 {
		i = len(*all)
		*all = append(*all, list)
	}
	return int32(i) //nolint:gosec // a number of taint lists
}

// tolerated tells what the tolerations are good for.
func (t *taintLists) tolerated(tolerations []corev1.Toleration) *tolerance {
	x := &tolerance{tolerations: tolerations, nodes: newNodeSet(len(t.lastingOf))}
	lasting := make([]bool, len(t.lasting))
	for i, list := range t.lasting {
		lasting[i] = x.tolerates(list)
	}
	for node, list := range t.lastingOf {
		if lasting[list] {
			x.nodes.add(node)
		}
	}
	x.catchUp(t)
	return x
}

// catchUp looks at the passing lists that were added since.
func (x *tolerance) catchUp(t *taintLists) {
	for _, list := range t.passing[len(x.passing):] {
		x.passing = append(x.passing, x.tolerates(list))
	}
}

func (x *tolerance) tolerates(list []corev1.Taint) bool {
	return !slices.ContainsFunc(list, func(taint corev1.Taint) bool {
		return !corehelpers.TolerationsTolerateTaint(klog.Logger{}, x.tolerations, &taint, true)
	})
}
