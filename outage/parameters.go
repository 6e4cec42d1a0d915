// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import "time"

// Setting is a value and where it is from: "flag of kube-controller-manager on
// NODE", "default of v1.36", "given with --node-eviction-rate".
type Setting[T any] struct {
	Value  T      `json:"value"`
	Source string `json:"source"`
	// Assumed: nothing in the cluster tells it, so the default was taken.
	Assumed bool `json:"assumed,omitempty"`
}

// Parameters are the settings of the control plane that decide. Those of
// kube-controller-manager are in cmd/kube-controller-manager/app/options, those of
// kube-apiserver in plugin/pkg/admission/defaulttolerationseconds.
type Parameters struct {
	// GracePeriod is for how long a lease may be silent (--node-monitor-grace-period),
	// MonitorPeriod how often that is looked at (--node-monitor-period).
	GracePeriod   Setting[time.Duration]
	MonitorPeriod Setting[time.Duration]
	// EvictionRate is how many nodes of a zone are tainted per second
	// (--node-eviction-rate), SecondaryRate how many while a large part of the
	// zone is gone (--secondary-node-eviction-rate).
	EvictionRate  Setting[float64]
	SecondaryRate Setting[float64]
	// LargeZone is the size up to which the latter is none at all
	// (--large-cluster-size-threshold), UnhealthyZone what a large part is, of 1
	// (--unhealthy-zone-threshold).
	LargeZone     Setting[int]
	UnhealthyZone Setting[float64]
	// NotReady and Unreachable are how long pods that say nothing tolerate the two
	// taints (--default-not-ready-toleration-seconds,
	// --default-unreachable-toleration-seconds of kube-apiserver). They are written
	// into each pod when it is created: pods that exist keep what they have.
	NotReady    Setting[time.Duration]
	Unreachable Setting[time.Duration]
	// KeepAttached: volumes of a node that is not Ready are not detached by force
	// (--disable-force-detach-on-timeout).
	KeepAttached Setting[bool]
	// LeaseRenewal is how often a kubelet renews its lease: a quarter of
	// nodeLeaseDurationSeconds of its configuration.
	LeaseRenewal Setting[time.Duration]
}
