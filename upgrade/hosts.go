// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/skew"
)

// checkHosts tells what is known of the machines that are visited, and what is not.
func (d *decision) checkHosts() {
	var unseen []string
	for _, name := range d.workedOn() {
		h, looked := d.Hosts[name]
		switch {
		case !looked:
			unseen = append(unseen, name)
			continue
		case h.Problem != "":
			d.add(HostFailed, nodeObject(name), "its machine could not be looked at: %s", h.Problem)
			continue
		}
		for _, gap := range h.Gaps {
			d.add(HostGap, nodeObject(name), "%s", gap)
		}
		d.checkMachine(name, &h)
		d.by.checkHost(d, name, &h)
	}
	if len(unseen) > 0 {
		d.add(HostUnseen, self(), "%s not looked at: %s; their packages, disks, certificates and settings are not known",
			phrase.Count(len(unseen), "machine")+phrase.Plural(len(unseen), " was", " were"), few(unseen))
	}
}

// workedOn lists the nodes on whose machines something is done, sorted: not those that give way
// to new ones.
func (d *decision) workedOn() []string {
	names := d.moving()
	if d.intent.Strategy != Replace {
		return names
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return !slices.ContainsFunc(d.plan.Hops, func(h Hop) bool {
			return slices.ContainsFunc(h.ControlPlane, func(v NodeSteps) bool { return v.Node == name })
		})
	})
}

// versionsOf are the versions that a node's packages go through.
func (d *decision) versionsOf(node string) []skew.Version {
	var list []skew.Version
	for _, h := range d.plan.Hops {
		for _, v := range slices.Concat(h.ControlPlane, h.Workers) {
			if v.Node == node && !slices.Contains(list, h.To) {
				list = append(list, h.To)
			}
		}
	}
	return list
}

func (d *decision) checkPackages(name string, h *Host) {
	for _, v := range d.versionsOf(name) {
		offers, asked := h.Offers[v.Minor]
		switch {
		case offers.Problem != "":
			d.add(PackageMissing, nodeObject(name), "its repositories could not be asked for 1.%d: %s", v.Minor, offers.Problem)
		case !asked:
			d.add(PackagesUnseen, nodeObject(name), "its repositories were not asked for 1.%d", v.Minor)
		case v.Patch == skew.Unknown: // told of the goal, or of the hop
		default:
			if missing := d.by.lacks(h, v); len(missing) > 0 {
				d.add(PackageMissing, nodeObject(name), "its repositories do not have %s %s%s", strings.Join(missing, ", "), v, d.has(h, v.Minor))
			}
		}
	}
	if len(h.Broken) > 0 {
		d.add(PackageBroken, nodeObject(name), "half installed: %s", few(h.Broken))
	}
	var held []string
	for _, p := range h.Packages {
		if p.Held && slices.Contains(kubePackages(), p.Name) {
			held = append(held, p.Name)
		}
	}
	if len(held) > 0 {
		d.add(PackageHeld, nodeObject(name), "%s %s held", strings.Join(held, ", "), phrase.Plural(len(held), "is", "are"))
	}
	if h.Automatic != "" && len(h.Touches) > 0 {
		d.add(AutomaticUpgrades, nodeObject(name), "%s is active and may upgrade %s", h.Automatic, strings.Join(h.Touches, ", "))
	}
}

// has says which patches of a minor a host could install.
func (d *decision) has(h *Host, minor int) string {
	var names []string
	for _, v := range releases(d.by, h, minor) {
		names = append(names, v.String())
	}
	if len(names) == 0 {
		return ""
	}
	return "; they have " + strings.Join(names, ", ")
}

// What packages and images of one hop take, roughly, in bytes: a control plane's six
// images are 400 MiB unpacked, etcd's among them; packages take 300 MiB while the old
// and the new are there, and their files 60 MiB, or four times that if the repository
// does not compress them.
const (
	roomPackages   = 400 << 20
	roomDownloads  = 250 << 20
	roomImages     = 1 << 30
	roomWorker     = 300 << 20
	roomBesideCopy = 100 << 20
)

func (d *decision) checkDisks(name string, h *Host) {
	control := slices.ContainsFunc(d.plan.Hops, func(x Hop) bool {
		return slices.ContainsFunc(x.ControlPlane, func(v NodeSteps) bool { return v.Node == name })
	})
	need := map[string]int64{}
	images := int64(roomWorker)
	if control {
		images = roomImages
	}
	what := map[string][]string{}
	want := func(bytes int64, why string, paths ...string) {
		for _, path := range paths { // the first that is there
			i := slices.IndexFunc(h.Disks, func(x Disk) bool { return x.Path == path })
			if i < 0 {
				continue
			}
			mount := h.Disks[i].Mount
			need[mount] += bytes
			what[mount] = append(what[mount], why)
			return
		}
	}
	want(roomPackages, "packages", "/usr", "/")
	want(roomDownloads, "package files", "/var/cache/apt/archives", "/var/cache/dnf", "/var", "/")
	want(images, "images", append(imageDirs(), "/var", "/")...)
	if control && h.EtcdBytes > 0 {
		want(h.EtcdBytes*int64(len(d.plan.Hops))+roomBesideCopy, "kubeadm's copies of etcd", "/etc/kubernetes", "/etc", "/")
	}
	told := map[string]bool{}
	for _, disk := range h.Disks {
		if needed := need[disk.Mount]; disk.Available < needed && !told[disk.Mount] {
			told[disk.Mount] = true
			d.add(DiskFull, nodeObject(name), "%s has %s free, and %s need about %s", disk.Mount, mebibytes(disk.Available), strings.Join(what[disk.Mount], ", "), mebibytes(needed))
		}
	}
	for _, disk := range h.Disks {
		if left := disk.Available - need[disk.Mount]; !told[disk.Mount] && left < disk.Floor {
			told[disk.Mount] = true
			d.add(DiskLow, nodeObject(name), "%s has %s free, and %s take about %s: below %s the kubelet removes images and evicts pods",
				disk.Mount, mebibytes(disk.Available), strings.Join(what[disk.Mount], ", "), mebibytes(need[disk.Mount]), mebibytes(disk.Floor))
		}
	}
	if h.CopiesBytes > 0 {
		d.add(KubeadmCopies, nodeObject(name), "%s of copies in /etc/kubernetes/tmp", mebibytes(h.CopiesBytes))
	}
}

// imageDirs are where the runtimes, containerd and CRI-O, keep images.
func imageDirs() []string { return []string{"/var/lib/containerd", "/var/lib/containers/storage"} }

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// expiresSoon is how long before its end a certificate is worth a warning.
const expiresSoon = 30 * 24 * time.Hour

func (d *decision) checkCertificates(name string, h *Host) {
	plane := slices.ContainsFunc(d.now.APIServers, func(i skew.Instance) bool { return i.Name == name })
	for _, c := range h.Certificates {
		left := c.NotAfter.Sub(d.Snapshot.Time)
		switch {
		case left <= 0 && c.needed(plane):
			d.add(CertificateExpired, nodeObject(name), "%s has expired on %s", c.File, day(c.NotAfter))
		case left <= 0:
			d.add(CertificateUnused, nodeObject(name), "%s has expired on %s: the upgrade does without it", c.File, day(c.NotAfter))
		case left < expiresSoon && c.File != kubeletServing:
			d.add(CertificateExpires, nodeObject(name), "%s expires on %s: %s", c.File, day(c.NotAfter), renewal(c))
		}
	}
}

const (
	authorityDir = "/etc/kubernetes/pki/"
	// kubeletServing is made once for a year, signed by itself, and never again as long as
	// it is there (initializeServerTLS in cmd/kubelet/app/server.go). Nobody checks it.
	kubeletServing = "/var/lib/kubelet/pki/kubelet.crt"
	// kubeletClient is how a kubelet logs in to the API server.
	kubeletClient = "/var/lib/kubelet/pki/kubelet-client-current.pem"
)

// needed tells whether the upgrade of a node fails once a certificate has expired: the
// kubelet's own, authorities, and on a control plane what its components and kubeadm use
// (https://kubernetes.io/docs/setup/best-practices/certificates/). Other files are left
// over from somebody.
func (c Certificate) needed(controlPlane bool) bool {
	inside, ofCluster := strings.CutPrefix(c.File, authorityDir)
	switch {
	case c.File == kubeletClient, ofCluster && c.Authority:
		return true
	case !controlPlane:
		return false
	}
	return strings.HasPrefix(inside, "etcd/") || strings.HasPrefix(inside, "apiserver") || inside == "front-proxy-client.crt" ||
		slices.Contains([]string{"admin.conf", "controller-manager.conf", "scheduler.conf"}, strings.TrimPrefix(c.File, "/etc/kubernetes/"))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// renewal says who renews a certificate.
func renewal(c Certificate) string {
	switch {
	case c.Authority:
		return "it is an authority, which nothing renews by itself"
	case strings.HasPrefix(c.File, "/var/lib/kubelet/"):
		return "the kubelet renews it by itself if rotation is on"
	case strings.HasPrefix(c.File, "/etc/kubernetes/"):
		return "the upgrade of this control plane renews it"
	}
	return "kubeadm does not manage it"
}

func (d *decision) checkMachine(name string, h *Host) {
	if minors := d.minorsOf(name, true); h.CgroupV1 && !h.CgroupV1Allowed && slices.Contains(minors, cgroupV1Refused) {
		d.add(CgroupV1, nodeObject(name), "has cgroup v1, on which kubelets from 1.%d on do not start unless failCgroupV1 is false", cgroupV1Refused)
	}
	if n := d.Snapshot.Node(name); n != nil && strings.HasPrefix(n.Status.NodeInfo.ContainerRuntimeVersion, "containerd://1.") {
		d.add(RuntimeOld, nodeObject(name), "runs %s", n.Status.NodeInfo.ContainerRuntimeVersion)
	}
	if h.RebootRequired != "" {
		d.add(RebootNeeded, nodeObject(name), "waits for a reboot: %s", h.RebootRequired)
	}
}

// checkPreflight tells of what kubeadm would refuse, and of static pods that it would not find
// as they are to be.
func (d *decision) checkPreflight(name string, h *Host) {
	// The check goes by the installed kubelet and not by its configuration (isCgroupsV1DisabledInKubelet
	// in k8s.io/system-validators v1.12.1, validators/cgroup_validator_linux.go).
	if h.CgroupV1 && d.current(name, true) >= cgroupV1Refused && d.runsKubeadm(name) && !d.intent.ignores("SystemVerification") {
		d.add(CgroupV1Preflight, nodeObject(name), "has cgroup v1 and a kubelet from 1.%d on: kubeadm upgrade refuses that before it begins", cgroupV1Refused)
	}
	for _, problem := range h.StaticPods {
		d.add(StaticPodWrong, nodeObject(name), "%s", problem)
	}
}

// runsKubeadm tells whether kubeadm moves a control plane on a node.
func (d *decision) runsKubeadm(node string) bool {
	return slices.ContainsFunc(d.plan.Hops, func(h Hop) bool {
		return slices.ContainsFunc(h.ControlPlane, func(v NodeSteps) bool { return v.Node == node && v.Role != ControlPlaneKubelet })
	})
}

// checkImages tells of images that have to be pulled, as far as their tags are known.
func (d *decision) checkImages(name string, h *Host) {
	if !h.ImagesListed {
		return
	}
	var missing []string
	for _, want := range d.images(name) {
		if !slices.ContainsFunc(h.Images, func(image string) bool { return strings.HasSuffix(image, "/"+want) }) {
			missing = append(missing, want)
		}
	}
	if len(missing) > 0 {
		d.plan.Findings = append(d.plan.Findings, cluster.Finding{Severity: cluster.Info, Code: ImageMissing, Object: nodeObject(name),
			Message: "has to pull " + strings.Join(missing, ", "), Hint: d.codes[ImageMissing].Do})
	}
}

// images are those that a node needs on its way: name and tag.
func (d *decision) images(node string) []string {
	var list []string
	control := slices.ContainsFunc(d.now.APIServers, func(i skew.Instance) bool { return i.Name == node })
	proxies := len(d.now.KubeProxies) > 0
	for _, v := range d.versionsOf(node) {
		if v.Patch == skew.Unknown {
			continue
		}
		if with := brings()[v.Minor]; control && with.etcd != "" {
			list = append(list, Etcd+":"+with.etcd)
		}
		if control {
			for _, c := range []skew.Component{skew.APIServer, skew.ControllerManager, skew.Scheduler} {
				list = append(list, string(c)+":"+v.String())
			}
		}
		if proxies {
			list = append(list, string(skew.KubeProxy)+":"+v.String())
		}
	}
	return list
}
