// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	manifestDir = "/etc/kubernetes/manifests"
	tmpDir      = "/etc/kubernetes/tmp"
	etcdName    = "etcd"
	// labelPodUID is on every container that a kubelet has made (k8s.io/kubelet/types.KubernetesPodUIDLabel).
	labelPodUID = "io.kubernetes.pod.uid"
)

// Pods is the static pods of a host.
type Pods struct {
	// Static are the pods of the manifests, by file name.
	Static []StaticPod `json:"static,omitempty"`
	// Saved are manifests that kubeadm put aside under /etc/kubernetes/tmp, those of the
	// newest directory first. If it was interrupted in the middle of an exchange, a manifest
	// is here and not where the kubelet reads it. kubeadm never removes them.
	Saved []SavedManifest `json:"saved,omitempty"`
	// Listed tells that the runtime could be asked which containers run.
	Listed bool `json:"listed,omitempty"`
}

// SavedManifest is a manifest that kubeadm put aside.
type SavedManifest struct {
	Path string `json:"path"`
	// Moved is when it was put there, by the host's clock; zero if that is not known.
	Moved time.Time `json:"moved,omitzero"`
}

// StaticPod is one static pod: its manifest and what runs of it.
type StaticPod struct {
	// Component is the name of the pod in its manifest: kube-apiserver.
	Component string `json:"component"`
	File      string `json:"file"`
	Image     string `json:"image"`
	// SHA256 is the manifest's.
	SHA256   string    `json:"sha256"`
	Modified time.Time `json:"modified"`
	// Flags are the flags of the first container's command.
	Flags []string `json:"flags,omitempty"`

	// Running is the container that runs of it; nil if none does.
	Running *Container `json:"running,omitempty"`
}

// Container is a running container of a static pod.
type Container struct {
	// ID is the runtime's.
	ID    string `json:"-"`
	Image string `json:"image"`
	// Started is when it was made, by the host's clock; zero if that is not known.
	Started time.Time `json:"started,omitzero"`
	// PodUID is the kubelet's hash of the manifest from which it made the pod: the mirror
	// pod has it as the annotation kubernetes.io/config.hash. "" if it is not known.
	PodUID string `json:"podUID,omitempty"`
	// Attempt counts the restarts in the pod.
	Attempt int `json:"attempt,omitempty"`
}

// Get returns the static pod of a component, and whether its manifest is there.
func (p *Pods) Get(component string) (StaticPod, bool) {
	if p != nil {
		for _, pod := range p.Static {
			if pod.Component == component {
				return pod, true
			}
		}
	}
	return StaticPod{}, false
}

// saved returns the newest manifest of a component that kubeadm put aside; its path is ""
// if there is none.
func (p *Pods) saved(component string) SavedManifest {
	for _, m := range p.Saved {
		if path.Base(m.Path) == component+".yaml" {
			return m
		}
	}
	return SavedManifest{}
}

// Components are the static pods that kubeadm makes on a control plane besides
// etcd, which may be elsewhere.
func Components() []string {
	return []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}
}

// pods looks at the manifests and, through cri, at what runs of them.
func (r *reader) pods(ctx context.Context, cri string) (*Pods, error) {
	p := &Pods{}
	files, err := r.find(ctx, manifestDir, "-maxdepth", "1", "-type", "f", "-name", "*.yaml", "-printf", `%T@ %p\n`)
	if err != nil {
		return nil, err
	}
	for _, line := range files {
		modified, file := parseStamp(line)
		text, found, err := r.file(ctx, file)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		pod, err := parseManifest(file, text)
		if err != nil {
			r.gap("%s: %v", file, err)
			continue
		}
		pod.Modified = modified
		p.Static = append(p.Static, pod)
	}
	slices.SortFunc(p.Static, func(a, b StaticPod) int { return strings.Compare(a.File, b.File) })

	saved, err := r.find(ctx, tmpDir, "-mindepth", "2", "-maxdepth", "2", "-path", tmpDir+"/kubeadm-backup-manifests-*/*.yaml", "-printf", `%C@ %p\n`)
	if err != nil {
		return nil, err
	}
	// kubeadm puts the time, in the host's zone, into the directory's name. A moved file
	// keeps the time of its content; that of its inode is when it was moved.
	for _, line := range saved {
		moved, file := parseStamp(line)
		p.Saved = append(p.Saved, SavedManifest{Path: file, Moved: moved})
	}
	slices.SortFunc(p.Saved, func(a, b SavedManifest) int { return strings.Compare(b.Path, a.Path) })

	if len(p.Static) == 0 {
		return p, nil
	}
	running, listed, err := r.containers(ctx, cri)
	if err != nil {
		return nil, err
	}
	p.Listed = listed
	for i, pod := range p.Static {
		if c, found := running[pod.Component]; found {
			p.Static[i].Running = &c
		}
	}
	return p, nil
}

// crictl is a command of crictl for the runtime of the kubelet.
func crictl(cri string, argv ...string) []string {
	return append([]string{"crictl", "--runtime-endpoint=" + cri, "--image-endpoint=" + cri}, argv...)
}

// parseStamp reads find's "%T@ %p" or "%C@ %p": seconds since 1970 with a fraction, and a path.
func parseStamp(line string) (time.Time, string) {
	stamp, file, _ := strings.Cut(line, " ")
	seconds, _, _ := strings.Cut(stamp, ".")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, file
	}
	return time.Unix(n, 0).UTC(), file
}

// parseManifest reads a manifest of a static pod.
func parseManifest(file, text string) (StaticPod, error) {
	var m struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			Containers []struct {
				Image   string   `json:"image"`
				Command []string `json:"command"`
				Args    []string `json:"args"`
			} `json:"containers"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		return StaticPod{}, fmt.Errorf("read the manifest: %w", err)
	}
	if m.Kind != "Pod" || m.Metadata.Name == "" || len(m.Spec.Containers) == 0 {
		return StaticPod{}, fmt.Errorf("this is no manifest of a pod with a name and a container")
	}
	first := m.Spec.Containers[0]
	sum := sha256.Sum256([]byte(text))
	pod := StaticPod{Component: m.Metadata.Name, File: file, Image: first.Image, SHA256: hex.EncodeToString(sum[:])}
	for _, word := range append(slices.Clone(first.Command), first.Args...) {
		if strings.HasPrefix(word, "-") {
			pod.Flags = append(pod.Flags, word)
		}
	}
	return pod, nil
}

// parseContainers reads crictl ps -o json (the CRI's ListContainersResponse) into
// running containers of static pods, by the name of the container, which is the
// component's with kubeadm. Of several the youngest counts.
func parseContainers(text string) (map[string]Container, error) {
	var list struct {
		Containers []struct {
			ID       string `json:"id"`
			Metadata struct {
				Name    string `json:"name"`
				Attempt int    `json:"attempt"`
			} `json:"metadata"`
			Image struct {
				Image              string `json:"image"`
				UserSpecifiedImage string `json:"userSpecifiedImage"`
			} `json:"image"`
			State     string            `json:"state"`
			CreatedAt string            `json:"createdAt"`
			Labels    map[string]string `json:"labels"`
		} `json:"containers"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("read crictl ps: %w", err)
	}
	all := map[string]Container{}
	for _, c := range list.Containers {
		if c.State != "CONTAINER_RUNNING" || c.Labels["io.kubernetes.pod.namespace"] != "kube-system" {
			continue
		}
		found := Container{ID: c.ID, Image: c.Image.Image, PodUID: c.Labels[labelPodUID], Attempt: c.Metadata.Attempt}
		if c.Image.UserSpecifiedImage != "" { // Image is its ID then
			found.Image = c.Image.UserSpecifiedImage
		}
		if n, err := strconv.ParseInt(c.CreatedAt, 10, 64); err == nil {
			found.Started = time.Unix(0, n).UTC()
		}
		if other, known := all[c.Metadata.Name]; !known || found.Started.After(other.Started) {
			all[c.Metadata.Name] = found
		}
	}
	return all, nil
}
