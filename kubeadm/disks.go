// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"refit.dev/refit/host"
)

// diskPaths are the directories that an upgrade writes to: programs, package files of
// apt and of dnf, kubeadm's copies, etcd, images of containerd and of CRI-O.
func diskPaths() []string {
	return []string{
		"/usr", "/var", "/var/cache/apt/archives", "/var/cache/dnf", "/etc/kubernetes", "/var/lib/etcd",
		"/var/lib/containerd", "/var/lib/containers/storage",
	}
}

// disks looks at the space. Directories that are not there are left out.
func (r *reader) disks(ctx context.Context) (*Disks, error) {
	result, err := r.run(ctx, append([]string{"df", "--block-size=1", "--output=file,source,size,avail,target"}, diskPaths()...)...)
	if err != nil {
		return nil, err
	}
	d := &Disks{Filesystems: parseDf(string(result.Stdout))}
	if len(d.Filesystems) == 0 {
		return nil, fmt.Errorf("run df: %w", host.Succeed(result, nil))
	}
	if !slices.ContainsFunc(d.Filesystems, func(f Disk) bool { return f.Path == "/var/lib/etcd" }) {
		return d, nil
	}
	// etcd writes while it is measured: files that vanish make a status of 1.
	used, err := r.run(ctx, "du", "--summarize", "--block-size=1", "--", "/var/lib/etcd")
	if err != nil {
		return nil, err
	}
	d.Etcd = parseDu(string(used.Stdout))["/var/lib/etcd"]
	return d, nil
}

// parseDf reads df --output=file,source,size,avail,target.
func parseDf(text string) []Disk {
	var all []Disk
	for _, line := range lines(text) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		size, sizeErr := strconv.ParseInt(f[2], 10, 64)
		available, availableErr := strconv.ParseInt(f[3], 10, 64)
		if sizeErr != nil || availableErr != nil { // the heading
			continue
		}
		all = append(all, Disk{Path: f[0], Device: f[1], Mount: strings.Join(f[4:], " "), Size: size, Available: available})
	}
	return all
}

// parseDu reads du's "bytes path" lines into bytes by path.
func parseDu(text string) map[string]int64 {
	all := map[string]int64{}
	for _, line := range lines(text) {
		bytes, path, found := strings.Cut(line, "\t")
		if n, err := strconv.ParseInt(bytes, 10, 64); found && err == nil {
			all[path] = n
		}
	}
	return all
}

// copyPrefix begins the names of kubeadm's copies of etcd's data directory; the time
// follows.
const copyPrefix = tmpDir + "/kubeadm-backup-etcd-"

// copies looks for the copies of etcd's data that kubeadm left.
func (r *reader) copies(ctx context.Context) ([]Copy, error) {
	found, err := r.find(ctx, tmpDir, "-mindepth", "1", "-maxdepth", "1", "-type", "d", "-path", copyPrefix+"*", "-printf", `%T@ %p\n`)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var all []Copy
	var paths []string
	for _, line := range found {
		modified, path := parseStamp(line)
		all = append(all, Copy{Path: path, Modified: modified})
		paths = append(paths, path)
	}
	text, err := r.text(ctx, append([]string{"du", "--summarize", "--block-size=1", "--"}, paths...)...)
	if err != nil {
		return nil, err
	}
	bytes := parseDu(text)
	for i := range all {
		all[i].Bytes = bytes[all[i].Path]
	}
	slices.SortFunc(all, func(a, b Copy) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// evictBelow is the share of the images' filesystem below which the kubelet removes images
// and evicts pods, unless its configuration says otherwise: evictionHard,
// imagefs.available<15% (https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/).
const evictBelow = 15

// ImageFloor is how many bytes of the images' filesystem, of that size, have to stay free
// for the kubelet; k may be nil.
func (k *Kubelet) ImageFloor(size int64) int64 {
	if k == nil || k.EvictionHard["imagefs.available"] == "" {
		return size / 100 * evictBelow
	}
	text := k.EvictionHard["imagefs.available"]
	if percent, isPercent := strings.CutSuffix(text, "%"); isPercent {
		if n, err := strconv.ParseFloat(percent, 64); err == nil {
			return int64(n / 100 * float64(size))
		}
	} else if q, err := resource.ParseQuantity(text); err == nil {
		return q.Value()
	}
	return size / 100 * evictBelow
}
