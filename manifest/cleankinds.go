// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	rbac         = "rbac.authorization.k8s.io"
	tokenVolume  = "kube-api-access-" // how the admission of service accounts calls the volume that it adds to pods
	metadataName = "kubernetes.io/metadata.name"
)

// cleanNamespace removes the label and the finalizer that every namespace is given.
func cleanNamespace(o map[string]any, _ fields) {
	if labels, ok := nestedMap(o, "metadata", "labels"); ok {
		if delete(labels, metadataName); len(labels) == 0 {
			unstructured.RemoveNestedField(o, "metadata", "labels")
		}
	}
	if spec, ok := nestedMap(o, "spec"); ok {
		if delete(spec, "finalizers"); len(spec) == 0 {
			delete(o, "spec")
		}
	}
}

// cleanService removes the addresses, families and ports that nobody has asked for: the API server chose
// them after it had noted who set what. "None" is a choice.
func cleanService(o map[string]any, owned fields) {
	spec, ok := nestedMap(o, "spec")
	if !ok {
		return
	}
	by := owned.under("spec")
	if spec["clusterIP"] != "None" && !by.has("clusterIP") && !by.has("clusterIPs") {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	for _, field := range []string{"ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"} {
		if !by.has(field) {
			delete(spec, field)
		}
	}
	ports, _ := spec["ports"].([]any)
	chosen := by.under("ports").elements()
	for _, p := range ports {
		port, ok := p.(map[string]any)
		if !ok || port["nodePort"] == nil {
			continue
		}
		if !chosenPort(chosen, port) {
			delete(port, "nodePort")
		}
	}
}

// chosenPort tells whether somebody has set the node port of a port.
func chosenPort(chosen map[string]fields, port map[string]any) bool {
	for key, set := range chosen {
		var id struct {
			Port     int64  `json:"port"`
			Protocol string `json:"protocol"`
		}
		if json.Unmarshal([]byte(strings.TrimPrefix(key, "k:")), &id) != nil {
			continue
		}
		protocol, _ := port["protocol"].(string)
		if id.Port == port["port"] && (id.Protocol == protocol || protocol == "") && set.has("nodePort") {
			return true
		}
	}
	return false
}

// cleanServiceAccount removes the names of the token Secrets that older control planes made.
func cleanServiceAccount(o map[string]any, _ fields) {
	name, _, _ := unstructured.NestedString(o, "metadata", "name")
	secrets, _ := o["secrets"].([]any)
	var kept []any
	for _, s := range secrets {
		secret, _ := s.(map[string]any)
		if of, _ := secret["name"].(string); !strings.HasPrefix(of, name+"-token-") {
			kept = append(kept, s)
		}
	}
	if delete(o, "secrets"); len(kept) > 0 {
		o["secrets"] = kept
	}
}

// cleanVolume keeps the name of the claim that a volume is for, and not its UID: the claim that is made
// again has another one, and the volume would be Released.
func cleanVolume(o map[string]any, _ fields) {
	if claim, ok := nestedMap(o, "spec", "claimRef"); ok {
		delete(claim, "uid")
		delete(claim, "resourceVersion")
	}
}

// cleanClusterRole removes the rules that the control plane has gathered from other roles.
func cleanClusterRole(o map[string]any, _ fields) {
	if o["aggregationRule"] != nil {
		delete(o, "rules")
	}
}

// cleanJob removes the selector and the labels that the API server has made of the Job's UID.
func cleanJob(o map[string]any, _ fields) {
	if manual, _, _ := unstructured.NestedBool(o, "spec", "manualSelector"); manual {
		return
	}
	unstructured.RemoveNestedField(o, "spec", "selector")
	for _, path := range [][]string{{"metadata", "labels"}, {"spec", "template", "metadata", "labels"}} {
		labels, ok := nestedMap(o, path...)
		if !ok {
			continue
		}
		for _, label := range []string{"batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"} {
			delete(labels, label)
		}
		if len(labels) == 0 {
			unstructured.RemoveNestedField(o, path...)
		}
	}
}

// cleanPod removes the node that the scheduler has chosen, the labels that tell where that is (KEP-4742), the
// priority that follows from the class, and the token that admission has added.
func cleanPod(o map[string]any, owned fields) {
	spec, ok := nestedMap(o, "spec")
	if !ok {
		return
	}
	if !owned.under("spec").has("nodeName") {
		delete(spec, "nodeName")
	}
	if labels, ok := nestedMap(o, "metadata", "labels"); ok {
		for _, label := range []string{corev1.LabelTopologyRegion, corev1.LabelTopologyZone} {
			if !owned.under("metadata", "labels").has(label) {
				delete(labels, label)
			}
		}
		if len(labels) == 0 {
			unstructured.RemoveNestedField(o, "metadata", "labels")
		}
	}
	delete(spec, "priority")
	delete(spec, "ephemeralContainers") // a pod cannot be made with them
	without(spec, "volumes")
	for _, list := range []string{"containers", "initContainers"} {
		containers, _ := spec[list].([]any)
		for _, c := range containers {
			if container, ok := c.(map[string]any); ok {
				without(container, "volumeMounts")
			}
		}
	}
}

// without removes the token from a list of volumes or mounts.
func without(of map[string]any, list string) {
	all, ok := of[list].([]any)
	if !ok {
		return
	}
	kept := []any{}
	for _, v := range all {
		volume, _ := v.(map[string]any)
		if name, _ := volume["name"].(string); !strings.HasPrefix(name, tokenVolume) {
			kept = append(kept, v)
		}
	}
	if of[list] = kept; len(kept) == 0 {
		delete(of, list)
	}
}
