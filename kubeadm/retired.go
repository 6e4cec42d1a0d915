// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"slices"
	"strings"

	"refit.dev/refit/skew"
)

// retiredGates are the feature gates that a minor does not know any more and the one
// before it did: a component that is told of one does not start ("unrecognized feature
// gate"). Taken from test/compatibility_lifecycle/reference/versioned_feature_list.yaml
// of kubernetes/kubernetes v1.34.4, v1.35.4, v1.36.3 and v1.37.2.
func retiredGates() map[int][]string {
	return map[int][]string{
		35: {
			"AllowServiceLBStatusOnNonLB", "ComponentSLIs", "CronJobsScheduledAnnotation", "LoadBalancerIPMode",
			"PodIndexLabel", "ProbeHostPodSecurityStandards", "SizeMemoryBackedVolumes", "StatefulSetAutoDeletePVC",
			"StrictCostEnforcementForVAP", "StrictCostEnforcementForWebhooks", "UserNamespacesPodSecurityStandards",
		},
		36: {
			"CPUCFSQuotaPeriod", "CSIMigrationPortworx", "HonorPVReclaimPolicy",
			"InPlacePodVerticalScalingAllocatedStatus", "InTreePluginPortworxUnregister", "MemoryManager",
			"RuntimeClassInImageCriAPI", "ServiceTrafficDistribution", "StructuredAuthorizationConfiguration",
			"TopologyAwareHints", "WatchFromStorageWithoutResourceVersion",
		},
		37: {
			"APIServerTracing", "AnonymousAuthConfigurableEndpoints", "AnyVolumeDataSource",
			"AuthorizeNodeWithSelectors", "AuthorizeWithSelectors", "BtreeWatchCache", "ConsistentListFromCache",
			"GangScheduling", "JobBackoffLimitPerIndex", "JobPodReplacementPolicy", "JobSuccessPolicy",
			"LogarithmicScaleDown", "OrderedNamespaceDeletion", "PodLifecycleSleepAction",
			"PodLifecycleSleepActionAllowZero", "PreventStaticPodAPIReferences", "RelaxedDNSSearchValidation",
			"ResilientWatchCacheInitialization", "RetryGenerateName", "SchedulerQueueingHints", "SidecarContainers",
			"StreamingCollectionEncodingToJSON", "StreamingCollectionEncodingToProtobuf",
			"StructuredAuthenticationConfiguration", "WorkloadAwarePreemption",
		},
	}
}

// retiredFlags are the flags of the kubelet that a minor does not know any more.
// --pod-infra-container-image went with 1.35; kubeadm takes it out of its own
// kubeadm-flags.env, so that only where an operator set it, it stays. Taken from
// cmd/kubelet/app/options and pkg/kubelet/config/flags.go of the same versions.
func retiredFlags() map[int][]string {
	return map[int][]string{35: {"pod-infra-container-image"}}
}

// retired returns those of the names that a move from one minor to another leaves
// without meaning, sorted, with the minor that dropped each.
func retired(byMinor map[int][]string, names []string, from, to int) map[string]int {
	found := map[string]int{}
	for minor := from + 1; minor <= to; minor++ {
		for _, name := range names {
			if slices.Contains(byMinor[minor], name) {
				found[name] = minor
			}
		}
	}
	return found
}

// unknown says which gates and flags the new version will not start with, a sentence
// each, sorted.
func unknown(s State, to skew.Version) []string {
	var all []string
	if k := s.Kubelet; k != nil && !k.Installed.IsZero() {
		var gates []string
		for name := range k.Gates {
			gates = append(gates, name)
		}
		for name, minor := range retired(retiredGates(), gates, k.Installed.Minor, to.Minor) {
			all = append(all, fmt.Sprintf("the kubelet's feature gate %s was removed in 1.%d", name, minor))
		}
		flags := slices.DeleteFunc(k.flagNames(), func(name string) bool { return name == "pod-infra-container-image" && !k.operatorFlag(name) })
		for name, minor := range retired(retiredFlags(), flags, k.Installed.Minor, to.Minor) {
			all = append(all, fmt.Sprintf("the kubelet's flag --%s was removed in 1.%d", name, minor))
		}
	}
	if s.Pods != nil {
		for _, pod := range s.Pods.Static {
			v, err := skew.ParseImage(pod.Image)
			if err != nil || !slices.Contains(Components(), pod.Component) {
				continue
			}
			var gates []string
			for pair := range strings.SplitSeq(flagValue(pod.Flags, "feature-gates"), ",") {
				name, _, _ := strings.Cut(pair, "=")
				gates = append(gates, name)
			}
			for name, minor := range retired(retiredGates(), gates, v.Minor, to.Minor) {
				all = append(all, fmt.Sprintf("%s's feature gate %s was removed in 1.%d", pod.Component, name, minor))
			}
		}
	}
	slices.Sort(all)
	return all
}
