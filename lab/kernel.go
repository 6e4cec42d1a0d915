// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// raiseLimits raises what the kernel allows each user of inotify, below root, the
// directory of sysctls: the machines share it, and what systemd, containerd,
// kubelets and kube-proxies of one lab watch is more than the usual 128
// instances, beyond which programs end with "too many open files".
func raiseLimits(root string, progress Progress) error {
	for _, limit := range []struct {
		name string
		want int
	}{
		{"fs/inotify/max_user_instances", 8192},
		{"fs/inotify/max_user_watches", 524288},
	} {
		path := filepath.Join(root, limit.name)
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a limit of the kernel: %w", err)
		}
		have, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if have >= limit.want {
			continue
		}
		progress.say("raising the kernel's %s from %d to %d until the next boot", strings.ReplaceAll(limit.name, "/", "."), have, limit.want)
		if err := os.WriteFile(path, []byte(strconv.Itoa(limit.want)), 0o644); err != nil {
			return fmt.Errorf("raise a limit of the kernel: %w", err)
		}
	}
	return nil
}
