// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"refit.dev/refit/etcd"
)

// lacking says which files the flags of the components name that are neither in the set nor on the machine: a
// component that lacks one does not start, and it would be found out when there is no way back.
func (m *machine) lacking(ctx context.Context, files []File) (stops []string, err error) {
	for _, component := range components() {
		manifest := path.Join(manifestDir, component+".yaml")
		text := content(files, manifest)
		if text == nil {
			stops = append(stops, manifest+" is not in the set")
			continue
		}
		var pod corev1.Pod
		if err := yaml.Unmarshal(text, &pod); err != nil {
			stops = append(stops, fmt.Sprintf("%s in the set: %v", manifest, err))
			continue
		}
		flags, err := etcd.APIServerFlags(text)
		if err != nil || len(pod.Spec.Containers) == 0 {
			continue // it names nothing
		}
		for _, flag := range slices.Sorted(maps.Keys(flags)) {
			value := flags[flag]
			if !etcd.NamesFile(flag) || !path.IsAbs(value) {
				continue
			}
			p, err := onMachine(&pod, path.Clean(value))
			if err != nil {
				continue // it is in the image
			}
			if content(files, p) != nil && !strings.HasPrefix(p, packaged) {
				continue
			}
			there, err := m.exists(ctx, p)
			if err != nil {
				return nil, err
			}
			if !there {
				stops = append(stops, fmt.Sprintf("%s needs %s (--%s), which is neither in the set nor on the machine", component, p, flag))
			}
		}
	}
	return stops, nil
}
