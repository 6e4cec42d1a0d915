// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkControllers refuses what kube-controller-manager would not start with, and an empty list,
// with which it would run nothing (Validate in k8s.io/controller-manager/options/generic.go).
// What is in force is not checked: servers of other versions know other names.
func checkControllers(value string) error {
	if value == "" {
		return errors.New("it names no controller: say * for all, and -NAME for all but one")
	}
	names := knownControllers()
	for word := range strings.SplitSeq(value, ",") {
		name := strings.TrimPrefix(word, "-")
		if word == "*" || slices.Contains(names, name) {
			continue
		}
		return fmt.Errorf("%q is not in the list of known controllers%s", word, meant(name, names))
	}
	return nil
}

// meant names what a word may have been meant for: ": did you mean X?", or nothing.
func meant(word string, names []string) string {
	word = strings.TrimPrefix(strings.TrimSpace(word), "-")
	for _, name := range names {
		if word != "" && strings.HasPrefix(name, word) {
			return fmt.Sprintf(": did you mean %s?", name)
		}
	}
	return ""
}

// knownControllers are those of v1.37.2 (cmd/kube-controller-manager/names), those that ran with a
// cloud provider before 1.31, and what they were called before 1.28 (the aliases in
// cmd/kube-controller-manager/app).
func knownControllers() []string {
	return strings.Fields(`
serviceaccount-token-controller serviceaccount-token
endpoints-controller endpoint
endpointslice-controller endpointslice
endpointslice-mirroring-controller endpointslicemirroring
replicationcontroller-controller replicationcontroller
pod-garbage-collector-controller podgc
resourcequota-controller resourcequota
namespace-controller namespace
serviceaccount-controller serviceaccount
garbage-collector-controller garbagecollector
daemonset-controller daemonset
job-controller job
deployment-controller deployment
replicaset-controller replicaset
horizontal-pod-autoscaler-controller horizontalpodautoscaling
disruption-controller disruption
statefulset-controller statefulset
cronjob-controller cronjob
certificatesigningrequest-signing-controller csrsigning
certificatesigningrequest-approving-controller csrapproving
certificatesigningrequest-cleaner-controller csrcleaner
podcertificaterequest-cleaner-controller
ttl-controller ttl
bootstrap-signer-controller bootstrapsigner
token-cleaner-controller tokencleaner
node-ipam-controller nodeipam
node-lifecycle-controller nodelifecycle
taint-eviction-controller
device-taint-eviction-controller
persistentvolume-binder-controller persistentvolume-binder
persistentvolume-attach-detach-controller attachdetach
persistentvolume-expander-controller persistentvolume-expander
clusterrole-aggregation-controller clusterrole-aggregation
persistentvolumeclaim-protection-controller pvc-protection
persistentvolume-protection-controller pv-protection
podgroup-protection-controller
ttl-after-finished-controller ttl-after-finished
root-ca-certificate-publisher-controller root-ca-cert-publisher
kube-apiserver-serving-clustertrustbundle-publisher-controller
ephemeral-volume-controller ephemeral-volume
storageversion-garbage-collector-controller storage-version-gc
resourceclaim-controller resource-claim-controller
resourcepoolstatusrequest-controller
legacy-serviceaccount-token-cleaner-controller legacy-service-account-token-cleaner
validatingadmissionpolicy-status-controller
volumeattributesclass-protection-controller
service-cidr-controller
storage-version-migrator-controller svm
selinux-warning-controller
service-lb-controller service
node-route-controller route
cloud-node-lifecycle-controller cloud-node-lifecycle
`)
}
