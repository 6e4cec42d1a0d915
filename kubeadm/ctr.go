// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// ctr is a command of ctr, the client that comes with containerd, for the namespace
// of the CRI. It serves where crictl is not installed.
func ctr(cri string, argv ...string) []string {
	return append([]string{"ctr", "--address=" + strings.TrimPrefix(cri, "unix://"), "--namespace=k8s.io"}, argv...)
}

// containers returns the running containers in kube-system by component, and whether
// the runtime could be asked.
func (r *reader) containers(ctx context.Context, cri string) (map[string]Container, bool, error) {
	text, ok, err := r.first(ctx, "which containers run", crictl(cri, "ps", "-o", "json"))
	if err != nil {
		return nil, false, err
	}
	if ok {
		running, err := parseContainers(text)
		return running, err == nil, err
	}
	if !strings.Contains(cri, "containerd") {
		return nil, false, nil
	}
	const filter = `labels."io.cri-containerd.kind"==container,labels."io.kubernetes.pod.namespace"==kube-system`
	list, ok, err := r.maybe(ctx, "which containers run", ctr(cri, "containers", "list", filter)...)
	if err != nil || !ok {
		return nil, false, err
	}
	tasks, ok, err := r.maybe(ctx, "which containers run", ctr(cri, "tasks", "list")...)
	if err != nil || !ok {
		return nil, false, err
	}
	running := parseCtr(list, tasks)
	for _, name := range append(Components(), etcdName) {
		c, found := running[name]
		if !found {
			continue
		}
		// The list says neither when a container was made nor of which pod it is.
		info, ok, err := r.maybe(ctx, "since when "+name+" runs", ctr(cri, "containers", "info", c.ID)...)
		if err != nil {
			return nil, false, err
		}
		if ok {
			running[name] = c.withInfo(info)
		}
	}
	return running, true, nil
}

// withInfo adds what ctr containers info tells, in JSON. What it does not tell stays unknown.
func (c Container) withInfo(text string) Container {
	var info struct {
		Labels    map[string]string
		CreatedAt time.Time
	}
	if err := json.Unmarshal([]byte(text), &info); err == nil {
		c.Started, c.PodUID = info.CreatedAt.UTC(), info.Labels[labelPodUID]
	}
	return c
}

// first runs argv; if the program is missing, that is no gap yet but ok is false.
func (r *reader) first(ctx context.Context, what string, argv []string) (text string, ok bool, err error) {
	gaps := len(r.gaps)
	text, ok, err = r.maybe(ctx, what, argv...)
	if !ok && len(r.gaps) > gaps && strings.HasSuffix(r.gaps[gaps], " is not installed") {
		r.gaps = r.gaps[:gaps]
	}
	return text, ok, err
}

// parseCtr reads ctr containers list ("CONTAINER IMAGE RUNTIME") and ctr tasks list
// ("TASK PID STATUS"). ctr does not tell a container's name, which with kubeadm is that
// of its image.
func parseCtr(containers, tasks string) map[string]Container {
	running := map[string]bool{}
	for _, line := range lines(tasks) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "RUNNING" {
			running[f[0]] = true
		}
	}
	all := map[string]Container{}
	for _, line := range lines(containers) {
		f := strings.Fields(line)
		if len(f) != 3 || !running[f[0]] {
			continue
		}
		name := f[1][strings.LastIndexByte(f[1], '/')+1:]
		name, _, _ = strings.Cut(name, ":")
		all[name] = Container{ID: f[0], Image: f[1]}
	}
	return all
}

// present puts the names of the runtime's images into i.
func (r *reader) present(ctx context.Context, cri string, i *Images) error {
	text, ok, err := r.first(ctx, "which images are there", crictl(cri, "images", "-o", "json"))
	if err != nil {
		return err
	}
	if ok {
		i.Present, err = parseImages(text)
		i.Listed, i.CRICtl = err == nil, err == nil
		return err
	}
	if !strings.Contains(cri, "containerd") {
		return nil
	}
	text, ok, err = r.maybe(ctx, "which images are there", ctr(cri, "images", "list", "--quiet")...)
	if err != nil || !ok {
		return err
	}
	i.Listed = true
	for _, name := range lines(text) {
		if !strings.Contains(name, "@") && !strings.HasPrefix(name, "sha256:") {
			i.Present = append(i.Present, name)
		}
	}
	return nil
}
