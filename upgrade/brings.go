// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import "time"

// bring is what kubeadm of a minor brings along, and what is no more in that minor.
type bring struct {
	// etcd and coreDNS are the tags of the images: DefaultEtcdVersion and CoreDNSVersion in
	// cmd/kubeadm/app/constants/constants.go of 1.34.4, 1.35.4, 1.36.3 and 1.37.2. A patch
	// release may bring a newer one.
	etcd, coreDNS string
	// gates are the feature gates that no component knows any more: set, it does not start.
	// They are the difference between all gates in the sources of those releases.
	gates []string
	// kubeletFlags are the flags that the kubelet does not know any more.
	kubeletFlags []string
}

// brings is what is known, by minor.
func brings() map[int]bring {
	return map[int]bring{
		34: {etcd: "3.6.5-0", coreDNS: "v1.12.1"},
		35: {etcd: "3.6.6-0", coreDNS: "v1.13.1", kubeletFlags: []string{"pod-infra-container-image"}, gates: []string{
			"AllowServiceLBStatusOnNonLB", "ComponentSLIs", "CronJobsScheduledAnnotation", "LoadBalancerIPMode", "PodIndexLabel",
			"ProbeHostPodSecurityStandards", "SizeMemoryBackedVolumes", "StatefulSetAutoDeletePVC", "StrictCostEnforcementForVAP",
			"StrictCostEnforcementForWebhooks", "UserNamespacesPodSecurityStandards",
		}},
		36: {etcd: "3.6.8-0", coreDNS: "v1.14.2", gates: []string{
			"CSIMigrationPortworx", "HonorPVReclaimPolicy", "InPlacePodVerticalScalingAllocatedStatus", "InTreePluginPortworxUnregister",
			"MemoryManager", "ServiceTrafficDistribution", "StructuredAuthorizationConfiguration", "TopologyAwareHints",
			"WatchFromStorageWithoutResourceVersion",
		}},
		37: {etcd: "3.7.0-0", coreDNS: "v1.14.6", gates: []string{
			"APIServerTracing", "AnonymousAuthConfigurableEndpoints", "AnyVolumeDataSource", "AuthorizeNodeWithSelectors",
			"AuthorizeWithSelectors", "BtreeWatchCache", "ConsistentListFromCache", "GangScheduling", "JobBackoffLimitPerIndex",
			"JobPodReplacementPolicy", "JobSuccessPolicy", "LogarithmicScaleDown", "OrderedNamespaceDeletion",
			"PodLifecycleSleepAction", "PodLifecycleSleepActionAllowZero", "PreventStaticPodAPIReferences",
			"RelaxedDNSSearchValidation", "ResilientWatchCacheInitialization", "RetryGenerateName", "SchedulerQueueingHints",
			"SidecarContainers", "StreamingCollectionEncodingToJSON", "StreamingCollectionEncodingToProtobuf",
			"StructuredAuthenticationConfiguration", "WorkloadAwarePreemption",
		}},
	}
}

// oldestKnown and newestKnown are the minors between which brings knows every one.
const oldestKnown, newestKnown = 35, 37

// cgroupV1Refused is the first minor whose kubelet does not start on control groups of
// version 1 by default (KEP-5573: failCgroupV1 defaults to true).
const cgroupV1Refused = 35

// How long things take, as measured on machines of 2 cores with the images pulled
// ahead: kubeadm upgrade apply of a control plane with etcd took 3m51s; the others are
// rounded. They are for estimates only.
const (
	takesPackages     = 20 * time.Second
	takesControlPlane = 3*time.Minute + 51*time.Second
	takesNodeConfig   = 10 * time.Second
	takesKubelet      = 25 * time.Second
	takesComponent    = 20 * time.Second
	takesReady        = 15 * time.Second
	takesUncordon     = time.Second
	takesCreate       = 90 * time.Second // a cloud's machine from its order to its first boot; a guess
	takesJoin         = 45 * time.Second // kubeadm join, the images of DaemonSets; a guess
	takesRemove       = 30 * time.Second
	takesRaise        = 15 * time.Minute // what clouds say of theirs is between 5 and 40
	takesDrain        = 10 * time.Second // of a control plane, whose pods the planner does not order
)
