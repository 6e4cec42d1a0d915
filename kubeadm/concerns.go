// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Concern is something about a host that an upgrade would trip over.
type Concern struct {
	// Code is stable: version-missing, disk-full, ...
	Code string
	// Blocks tells that the upgrade could not go through.
	Blocks bool
	// Message says what is the case, Hint what to do; without the host's name.
	Message, Hint string
}

const (
	gib = 1 << 30
	mib = 1 << 20
	// How much an upgrade takes, estimated with air: the programs of three packages,
	// old and new for a moment both on the disk, and the images of a control plane
	// (with etcd and CoreDNS) or of a worker, compressed and unpacked.
	roomPackages     = 512 * mib
	roomControlPlane = 1 * gib
	roomWorker       = 384 * mib
	// evictBelow is the share of the images' filesystem below which the kubelet removes
	// images and evicts pods, unless its configuration says otherwise: evictionHard,
	// imagefs.available<15%.
	evictBelow = 15
	// certificateSoon is when an authority's end is worth a word: it takes time to
	// replace. Certificates under it are renewed by the upgrade itself.
	certificateSoon = 180 * 24 * time.Hour
)

// Concerns returns what the target would trip over on a host of that State, in the
// order of the steps. It judges only the parts that were looked at.
func Concerns(t Target, s State, now time.Time) []Concern {
	var all []Concern
	add := func(code string, blocks bool, hint, format string, args ...any) {
		all = append(all, Concern{Code: code, Blocks: blocks, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	if s.Looked()&PartRepositories != 0 && s.Looked()&PartPackages != 0 {
		packageConcerns(t, s, add)
	}
	if a := s.Automatic; a != nil && len(a.Touches) > 0 {
		add("automatic-upgrades", false, "hold them (apt-mark hold, dnf versionlock add), or keep the repository out of "+a.Name,
			"%s may upgrade %s by itself", a.Name, strings.Join(a.Touches, ", "))
	}
	if s.Disks != nil {
		diskConcerns(t, s.Disks, s.Kubelet, add)
	}
	if k := s.Kubelet; k != nil {
		if k.PID > 0 && k.Replaced {
			add("kubelet-replaced", false, "", "the kubelet's program was replaced since it was started: %s runs, %s is installed", k.Running, k.Installed)
		}
		if k.PID == 0 {
			add("kubelet-down", true, "look at journalctl -u kubelet", "the kubelet does not run: %s", k.Active)
		}
		if s.System != nil && s.System.CgroupV1 && t.Version.Minor >= 35 && (k.FailCgroupV1 == nil || *k.FailCgroupV1) {
			add("cgroup-v1", true, "move the host to cgroup v2, or set failCgroupV1: false in the kubelet's configuration (ConfigMap kubelet-config in kube-system)",
				"the host runs on cgroup v1, on which kubelets since 1.35 do not start")
		}
	}
	for _, text := range unknown(s, t.Version) {
		add("unknown-setting", true, "take it out of the component's configuration before the upgrade (kubeadm-config, kubelet-config, /etc/default/kubelet)", "%s", text)
	}
	if r := s.Runtime; r != nil && r.Name == "containerd" && strings.HasPrefix(strings.TrimPrefix(r.Version, "v"), "1.") {
		add("old-runtime", t.Version.Minor >= 38, "move to containerd 2", "containerd %s does not tell the kubelet its cgroup driver, which kubelets want from 1.38 on", r.Version)
	}
	if s.Pods != nil && t.Role.controlPlane() {
		podConcerns(s, add)
	}
	certificateConcerns(s, now, add)
	if len(s.Copies) > 0 {
		var sum int64
		for _, c := range s.Copies {
			sum += c.Bytes
		}
		add("etcd-copies", false, "remove them with --clean, or by hand", "%d copies of etcd's data that kubeadm left in %s take %s", len(s.Copies), tmpDir, size(sum))
	}
	if s.System != nil && s.System.RebootRequired != "" {
		add("reboot-required", false, "refit maintain --reboot does it, before or after the upgrade", "a reboot is due: %s", s.System.RebootRequired)
	}
	return all
}

// adder takes one concern.
type adder func(code string, blocks bool, hint, format string, args ...any)

func packageConcerns(t Target, s State, add adder) {
	// The actions of the steps know what they cannot do.
	reported := map[string]bool{}
	for _, step := range Steps(t, s) {
		if step.Name == StepUpgrade {
			break
		}
		if step.Done(s) {
			continue
		}
		_, err := step.Actions(s)
		if f, ok := errors.AsType[*Failure](err); ok && !reported[f.Cause] {
			reported[f.Cause] = true
			add(string(f.Kind), true, f.Hint, "%s", f.Cause)
		}
	}
	if l := s.Packages.Lock; l != nil {
		add("locked", false, "the steps wait for it for some minutes", "%s (process %d) holds %s", l.Process, l.PID, l.Path)
	}
	if s.Packages.Interrupted && len(s.Packages.Broken) == 0 {
		add("broken", false, "", "dpkg was interrupted; its work is ended before the first installation")
	}
	var loose []string
	for _, p := range s.Packages.Installed {
		if _, ours := p.Upstream(); ours && !p.Held && slices.Contains(t.packages(s), p.Name) {
			loose = append(loose, p.Name)
		}
	}
	if len(loose) > 0 && !allExcluded(s) {
		add("not-held", false, "apt-mark hold, dnf versionlock add", "not held: %s; any upgrade of the host moves them", strings.Join(loose, ", "))
	}
}

// allExcluded tells whether every repository hides its packages from dnf.
func allExcluded(s State) bool {
	return len(s.Repositories) > 0 && !slices.ContainsFunc(s.Repositories, func(r Repository) bool { return !r.Excludes })
}

func diskConcerns(t Target, d *Disks, k *Kubelet, add adder) {
	const hint = "make room (apt-get clean, crictl rmi --prune), or enlarge it"
	images := int64(roomWorker)
	if t.Role.controlPlane() {
		images = roomControlPlane
	}
	need := map[string]int64{"/usr": roomPackages, "/var/lib/containerd": images, "/var/lib/containers/storage": images}
	if t.Role.controlPlane() {
		need["/etc/kubernetes"] = d.Etcd + 64*mib
	}
	// Directories of one filesystem share its room.
	wants, used := map[string]int64{}, map[string][]string{}
	var order []Disk
	for _, f := range d.Filesystems {
		if need[f.Path] == 0 {
			continue
		}
		if wants[f.filesystem()] == 0 {
			order = append(order, f)
		}
		wants[f.filesystem()] += need[f.Path]
		used[f.filesystem()] = append(used[f.filesystem()], f.Path)
	}
	for _, f := range order {
		where, wanted := "the filesystem of "+strings.Join(used[f.filesystem()], ", "), wants[f.filesystem()]
		floor := k.floor("imagefs.available", f.Size, used[f.filesystem()])
		switch left := f.Available - wanted; {
		case left < 0:
			add("disk-full", true, hint, "%s has %s left, the upgrade needs about %s", where, size(f.Available), size(wanted))
		case left < floor:
			add("disk-low", false, hint, "%s has %s left, and the upgrade takes about %s: below %s the kubelet removes images and evicts pods",
				where, size(f.Available), size(wanted), size(floor))
		}
	}
}

// floor is how many bytes of a filesystem have to stay free for the kubelet, if images
// are on it.
func (k *Kubelet) floor(signal string, size int64, paths []string) int64 {
	if !slices.Contains(paths, "/var/lib/containerd") && !slices.Contains(paths, "/var/lib/containers/storage") {
		return 0
	}
	if k != nil && k.EvictionHard[signal] != "" {
		text := k.EvictionHard[signal]
		if percent, isPercent := strings.CutSuffix(text, "%"); isPercent {
			if n, err := strconv.ParseFloat(percent, 64); err == nil {
				return int64(n / 100 * float64(size))
			}
		} else if q, err := resource.ParseQuantity(text); err == nil {
			return q.Value()
		}
	}
	return size / 100 * evictBelow
}

func podConcerns(s State, add adder) {
	for _, component := range Components() {
		pod, found := s.Pods.Get(component)
		if !found {
			add("manifest-missing", true, "put it back (kubeadm init phase control-plane), or leave the host out", "%s has no manifest in %s", component, manifestDir)
			continue
		}
		for _, problem := range pod.problems(s.Pods.Listed) {
			add("static-pod", true, "look at crictl ps -a and the kubelet's log", "%s", problem)
		}
	}
}

func certificateConcerns(s State, now time.Time, add adder) {
	for _, c := range s.Certificates {
		left := c.NotAfter.Sub(now)
		switch {
		case left <= 0 && strings.HasSuffix(c.File, "/kubelet-client-current.pem"):
			add("certificate-expired", true, "see https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/", "%s (%s) expired on %s", c.File, c.Subject, day(c.NotAfter))
		case left <= 0 && c.Authority:
			add("certificate-expired", strings.HasPrefix(c.File, "/etc/kubernetes/pki/"), "kubeadm does not renew authorities: it has to be replaced first", "%s (%s) expired on %s", c.File, c.Subject, day(c.NotAfter))
		case left <= 0:
			add("certificate-expired", false, "kubeadm certs renew all renews what an authority signed", "%s (%s) expired on %s", c.File, c.Subject, day(c.NotAfter))
		case left < certificateSoon && c.Authority && strings.HasPrefix(c.File, "/etc/kubernetes/pki/"):
			add("authority-expires", false, "kubeadm does not renew authorities: plan its replacement", "%s (%s) expires on %s", c.File, c.Subject, day(c.NotAfter))
		}
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// size is bytes for people.
func size(bytes int64) string {
	if bytes >= gib {
		return fmt.Sprintf("%.1f GiB", float64(bytes)/gib)
	}
	return fmt.Sprintf("%d MiB", bytes/mib)
}
