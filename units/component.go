// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"path"
	"regexp"
	"slices"
)

// The components, by the names of their binaries and, with ".service", of their services.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kubelet           = "kubelet"
	KubeProxy         = "kube-proxy"
)

// Plane are the components of a control plane, in the order in which they are raised: each
// may be newer than the ones behind it (https://kubernetes.io/releases/version-skew-policy/).
func Plane() []string { return []string{Etcd, APIServer, ControllerManager, Scheduler} }

// Node are the components of every node, in their order.
func Node() []string { return []string{Kubelet, KubeProxy} }

// All are all components, in their order.
func All() []string { return slices.Concat(Plane(), Node()) }

// plain is a path that can be named in a unit and in a message as it is.
var plain = regexp.MustCompile(`^/[A-Za-z0-9._/+-]+$`)

// stagedPath is where the binary of a version waits beside the one in use, keptPath where
// the one lies that was in use before it, refusedPath where it is noted that it was rolled back.
func stagedPath(program, version string) string { return program + "." + version }

func keptPath(program, version string) string { return program + ".before-" + version }

func refusedPath(program, version string) string { return program + ".refused-" + version }

// checkPath says whether a program can be replaced where it is.
func checkPath(program string) bool {
	return plain.MatchString(program) && path.Clean(program) == program
}
