// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package simulated names the labels and annotations by which the machines and
// pods of a twin are told how to behave. They work on any object of a twin, at
// any time: with kubectl as well as from refit.
package simulated

const (
	// Prefix is that of all labels and annotations of the twin.
	Prefix = "twin.refit.dev/"

	// TendedLabel is on a Node while its kubelet is heard: not yet when it was just
	// started and the API server still refuses what it writes. The twin sets it.
	TendedLabel = Prefix + "tended"
	// KubeletLabel on a Node says how its kubelet is. Only with KubeletRunning
	// are the node's lease renewed and its pods looked after.
	KubeletLabel = Prefix + "kubelet"
	// KubeletRunning: the kubelet works.
	KubeletRunning = "running"
	// KubeletRebooting: the machine is down, for the time of a reboot.
	KubeletRebooting = "rebooting"
	// KubeletStopped: the machine is dead, until somebody sets another value.
	KubeletStopped = "stopped"

	// RebootAnnotation on a Node reboots its machine: set it to a boot ID other
	// than the one in status.nodeInfo, which the machine has when it is back.
	RebootAnnotation = Prefix + "reboot"
	// RebootTimeAnnotation on a Node is how long its reboots take, a Go
	// duration, instead of the twin's default; Never for one that does not come back.
	RebootTimeAnnotation = Prefix + "reboot-time"
	// DownSinceAnnotation is set on a Node while its machine is down.
	DownSinceAnnotation = Prefix + "down-since"

	// ReadyAfterAnnotation on a Pod is the time from scheduled to Ready, a Go
	// duration; with Never the pod runs and does not become Ready. A pod runs from
	// when it is Ready on, and one with a readiness probe from when it is scheduled.
	ReadyAfterAnnotation = Prefix + "ready-after"
	// TerminateAfterAnnotation on a Pod is the time from its deletion to the
	// end of its containers, a Go duration; with Never it stays Terminating.
	TerminateAfterAnnotation = Prefix + "terminate-after"
	// CompleteAfterAnnotation on a Pod of a Job is the time from Ready to
	// Succeeded, a Go duration; Never for one that runs for ever.
	CompleteAfterAnnotation = Prefix + "complete-after"
	// Never is the value for what does not happen.
	Never = "never"

	// NodesAnnotation and ZonesAnnotation on a Namespace in a scenario say how
	// many nodes and zones the scenario is made for.
	NodesAnnotation = Prefix + "nodes"
	ZonesAnnotation = Prefix + "zones"

	// Provisioner is the name of the simulated CSI driver and of the
	// provisioner of the twin's StorageClass, which has the same name.
	Provisioner = "twin.refit.dev"
)
