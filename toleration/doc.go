// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package toleration knows how long pods stay bound to a node that is lost, and
// changes that: the eviction timeout.
//
// A lost node gets one of two taints with the effect NoExecute, and each pod has as
// long as its toleration of that taint says before it is deleted. Pods that say
// nothing are given a default when they are created, by the admission plugin
// DefaultTolerationSeconds of the API server. (Before Kubernetes 1.27 there was a
// flag --pod-eviction-timeout of kube-controller-manager; it did nothing any more
// since taints evict, which is so in every cluster since 1.18.)
//
// Survey says, of a Snapshot, which defaults are in force and which workloads
// differ. Find looks for the workloads that are to be changed, Plan says what a
// change of them means, and Change.Apply makes it. Survey and Plan are pure.
//
// The rules are those of Kubernetes v1.37.2:
// plugin/pkg/admission/defaulttolerationseconds/admission.go,
// pkg/controller/tainteviction/taint_eviction.go and, for which toleration counts
// if several match, GetMatchingTolerations in pkg/apis/core/v1/helper/helpers.go.
package toleration
