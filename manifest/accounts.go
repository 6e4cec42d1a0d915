// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

// controllerAccount tells whether kube-controller-manager, or the one of a cloud, makes a service account of that name in kube-system for
// one of its controllers (--use-service-account-credentials). Controllers of others are called alike: a user's
// snapshot-controller is to be kept. The names are those of kube-controller-manager's clients (k8s.io/kubernetes,
// cmd/kube-controller-manager/app and plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go, 1.37).
func controllerAccount(name string) bool {
	switch name {
	case "attachdetach-controller", "bootstrap-signer", "certificate-controller", "clusterrole-aggregation-controller", "controller-discovery",
		"cronjob-controller", "daemon-set-controller", "deployment-controller", "device-taint-eviction-controller", "disruption-controller",
		"endpoint-controller", "endpointslice-controller", "endpointslicemirroring-controller", "ephemeral-volume-controller", "expand-controller",
		"generic-garbage-collector", "horizontal-pod-autoscaler", "job-controller", "kube-apiserver-serving-clustertrustbundle-publisher",
		"legacy-service-account-token-cleaner", "metadata-informers", "namespace-controller", "node-controller", "persistent-volume-binder",
		"pod-garbage-collector", "podcertificaterequestcleaner", "podgroup-protection-controller", "pv-protection-controller", "pvc-protection-controller",
		"replicaset-controller", "replication-controller", "resource-claim-controller", "resourcepoolstatusrequest-controller", "resourcequota-controller",
		"root-ca-cert-publisher", "route-controller", "selinux-warning-controller", "service-account-controller", "service-cidrs-controller",
		"service-controller", "shared-informers", "statefulset-controller", "storage-version-garbage-collector", "storage-version-migrator-controller",
		"token-cleaner", "tokens-controller", "ttl-after-finished-controller", "ttl-controller", "validatingadmissionpolicy-status-controller",
		"volumeattributesclass-protection-controller":
		return true
	}
	return false
}
