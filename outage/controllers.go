// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
)

// Off are those controllers of kube-controller-manager that do not run, of the ones whose
// work is foreseen here, sorted.
type Off []string

// String is how people and JSON are told: "all", "without taint-eviction-controller".
func (o Off) String() string {
	if len(o) == 0 {
		return "all"
	}
	return "without " + strings.Join(o, ", ")
}

// The controllers whose work is foreseen here (cmd/kube-controller-manager/names).
const (
	nodeLifecycle = "node-lifecycle-controller"
	taintEviction = "taint-eviction-controller"
	podCollector  = "pod-garbage-collector-controller"
	attachDetach  = "persistentvolume-attach-detach-controller"
	replicaSets   = "replicaset-controller"
	statefulSets  = "statefulset-controller"
	daemonSets    = "daemonset-controller"
	jobController = "job-controller"
	replicators   = "replicationcontroller-controller"
)

// foreseen are they, with the names that they had before 1.28, which still count (the aliases
// in cmd/kube-controller-manager/app).
func foreseen() map[string]string {
	return map[string]string{
		nodeLifecycle: "nodelifecycle", taintEviction: "", podCollector: "podgc", attachDetach: "attachdetach", replicaSets: "replicaset",
		statefulSets: "statefulset", daemonSets: "daemonset", jobController: "job", replicators: "replicationcontroller",
	}
}

// separately is the version from which on the taint manager is a controller of its own, and no
// part of the node lifecycle controller; until 1.34 a feature gate could say otherwise.
const (
	separately      = 29
	separatelyFixed = 34
	separatelyGate  = "SeparateTaintEvictionController"
)

// partOfNodeLifecycle tells whether a controller manager of this version has no taint manager
// of its own.
func partOfNodeLifecycle(minor int, gates string) bool {
	if minor < separately {
		return true
	}
	said := map[string]bool{} // that it is off
	for gate := range strings.SplitSeq(gates, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(gate), "=")
		// Since 1.31 a gate may be said of one component, which has to be this one then.
		on, err := strconv.ParseBool(strings.TrimSpace(value))
		said[strings.TrimPrefix(name, "kube:")] = err == nil && !on
	}
	if together, is := said[separatelyGate]; is {
		return together // goes before what is said of all
	}
	return minor < separatelyFixed && said["AllBeta"]
}

// readOff reads --controllers as IsControllerEnabled does (k8s.io/controller-manager/app/helper.go):
// the first word that is about a controller counts, * is for all that are not named, and
// without it those are off.
func readOff(value string, together bool) Off {
	words := strings.Split(value, ",")
	off := Off{}
	for name, alias := range foreseen() {
		if !enabled(words, name, alias) {
			off = append(off, name)
		}
	}
	if together {
		off = slices.DeleteFunc(off, func(name string) bool { return name == taintEviction })
		if slices.Contains(off, nodeLifecycle) {
			off = append(off, taintEviction)
		}
	}
	slices.Sort(off)
	return off
}

func enabled(words []string, name, alias string) bool {
	for _, word := range words {
		bare := strings.TrimPrefix(word, "-")
		if bare == name || alias != "" && bare == alias {
			return bare == word
		}
	}
	return slices.Contains(words, "*")
}

// off tells whether a controller does not run, and says so, with where that is from.
func (p *Parameters) off(name string) (why string, is bool) {
	if !slices.Contains(p.Off.Value, name) {
		return "", false
	}
	from := p.Off.Source
	if !strings.Contains(from, "--"+flagControllers) {
		from = "--" + flagControllers + ", " + from
	}
	return fmt.Sprintf("%s does not run (%s)", name, from), true
}

// controllerOf is the controller that makes pods for a workload; "" if it is none of
// Kubernetes itself.
func controllerOf(w *cluster.Workload) string {
	switch w.Group + "/" + w.Kind {
	case appsv1.GroupName + "/ReplicaSet":
		return replicaSets
	case appsv1.GroupName + "/StatefulSet":
		return statefulSets
	case appsv1.GroupName + "/DaemonSet":
		return daemonSets
	case batchv1.GroupName + "/Job":
		return jobController
	case corev1.GroupName + "/ReplicationController":
		return replicators
	}
	return ""
}
