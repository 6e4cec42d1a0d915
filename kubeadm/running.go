// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"fmt"
	"strings"

	"refit.dev/refit/host"
)

// Running returns the running containers of kube-system on a host, by component: whatever
// there is of manifests. listed is false if no client of the runtime is installed there.
func Running(ctx context.Context, m host.Machine) (running map[string]Container, listed bool, err error) {
	r := &reader{m: m}
	cri, err := r.cri(ctx)
	if err != nil {
		return nil, false, err
	}
	return r.containers(ctx, cri)
}

// Kill ends a container at once.
func Kill(ctx context.Context, m host.Machine, c Container) error {
	r := &reader{m: m}
	cri, err := r.cri(ctx)
	if err != nil {
		return err
	}
	result, err := r.run(ctx, crictl(cri, "stop", "--timeout=0", c.ID)...)
	if err == nil && result.Code == notFound && strings.Contains(cri, "containerd") {
		result, err = r.run(ctx, ctr(cri, "tasks", "kill", "--signal=SIGKILL", c.ID)...)
	}
	if err := host.Succeed(result, err); err != nil {
		return fmt.Errorf("end container %s: %w", c.ID, err)
	}
	return nil
}

// cri is the endpoint of the container runtime that the kubelet uses.
func (r *reader) cri(ctx context.Context) (string, error) {
	kubelet, err := r.kubelet(ctx)
	if err == nil && kubelet != nil && kubelet.CRI != "" {
		return kubelet.CRI, nil
	}
	return defaultCRI, err
}
