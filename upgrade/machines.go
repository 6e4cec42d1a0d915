// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/host"
	"refit.dev/refit/kubeadm"
	"refit.dev/refit/skew"
)

// Machines are Hosts that are looked at through their machines.
type Machines struct {
	// Reach returns the machine of a node. Whoever made it closes it.
	Reach func(node *corev1.Node) (host.Machine, error)
}

// Look looks at everything that an upgrade depends on.
func (m Machines) Look(ctx context.Context, node *cluster.Node, minors []int) (Host, error) {
	machine, err := m.Reach(node.Node)
	if err != nil {
		return Host{Problem: err.Error()}, ctx.Err()
	}
	if err := host.CheckSame(ctx, machine, node.Node); err != nil {
		return Host{Problem: unreached(err)}, ctx.Err()
	}
	state, err := kubeadm.Observe(ctx, machine, kubeadm.Query{})
	if err != nil {
		return Host{Problem: err.Error()}, ctx.Err()
	}
	h := hostOf(state)
	for _, minor := range minors {
		// Any version of the minor: what is asked is which ones there are.
		ahead, err := kubeadm.Observe(ctx, machine, kubeadm.Query{Parts: kubeadm.PartRepositories, Version: skew.Version{Minor: minor}, Kubelet: state.Kubelet})
		if err != nil {
			h.Offers[minor] = Offers{Problem: err.Error()}
			continue
		}
		h.Offers[minor] = offersOf(ahead.Offers, minor)
	}
	h.LocalAPIServer = localServer(ctx, machine, node.Node)
	return h, ctx.Err()
}

// unreached is why a machine was not reached, without what was wanted of it; other errors are told in full.
func unreached(err error) string {
	text := err.Error()
	if _, why, cut := strings.Cut(text, host.ErrNotStarted.Error()+": "); cut && errors.Is(err, host.ErrNotStarted) {
		return why
	}
	return text
}

// hostOf takes from what a host was found to be what is decided by.
func hostOf(s kubeadm.State) Host {
	h := Host{OS: s.OS, Gaps: s.Gaps, Offers: map[int]Offers{}}
	if s.Packages != nil {
		for _, p := range s.Packages.Installed {
			h.Packages = append(h.Packages, Package{Name: p.Name, Version: p.Version, Held: p.Held})
		}
		h.Broken = s.Packages.Broken
	}
	if s.Automatic != nil && s.Automatic.Active {
		h.Automatic, h.Touches = s.Automatic.Name, s.Automatic.Touches
	}
	if s.Disks != nil {
		for _, d := range s.Disks.Filesystems {
			disk := Disk{Path: d.Path, Mount: d.Mount, Available: d.Available}
			if slices.Contains(imageDirs(), d.Path) {
				disk.Floor = s.Kubelet.ImageFloor(d.Size)
			}
			h.Disks = append(h.Disks, disk)
		}
		h.EtcdBytes = s.Disks.Etcd
	}
	for _, c := range s.Copies {
		h.CopiesBytes += c.Bytes
	}
	for _, c := range s.Certificates {
		h.Certificates = append(h.Certificates, Certificate{File: c.File, Subject: c.Subject, NotAfter: c.NotAfter, Authority: c.Authority})
	}
	if s.Kubelet != nil {
		h.KubeletFlags, h.KubeletGates = s.Kubelet.Flags, s.Kubelet.Gates
		h.CgroupV1Allowed = s.Kubelet.FailCgroupV1 != nil && !*s.Kubelet.FailCgroupV1
	}
	if s.System != nil {
		h.CgroupV1, h.RebootRequired = s.System.CgroupV1, s.System.RebootRequired
	}
	h.StaticPods = kubeadm.StaticPodProblems(s)
	if x := s.Health; x != nil && x.APIServer.Asked {
		h.APIServer = &Health{Problem: x.APIServer.Problem}
	}
	if x := s.Health; x != nil && x.Etcd.Asked {
		h.Etcd = &EtcdHealth{Health: Health{Problem: x.Etcd.Problem}, Alarm: x.Alarm, Size: x.Size, Quota: x.Quota}
	}
	if s.Images != nil {
		h.Images, h.ImagesListed = s.Images.Present, s.Images.Listed
	}
	return h
}

// offersOf are the packages of a minor among those that a host's repositories have, or
// would have if they were set to it.
func offersOf(all *kubeadm.Offers, minor int) Offers {
	var o Offers
	if all == nil {
		return o
	}
	for _, offer := range slices.Concat(all.Configured, all.Ahead) {
		v, known := kubeadm.Package{Name: offer.Name, Version: offer.Version}.Upstream()
		if known && v.Minor == minor && slices.Contains(kubePackages(), offer.Name) {
			o.Packages = append(o.Packages, Offer{Name: offer.Name, Version: offer.Version, Upstream: v})
		}
	}
	if len(o.Packages) == 0 {
		o.Problem = all.AheadError
	}
	return o
}

// kubeletConf is how a kubelet of kubeadm's reaches an API server.
const kubeletConf = "/etc/kubernetes/kubelet.conf"

// localServer tells whether the kubelet talks to an API server on its own node. If that
// cannot be seen, it is taken for one that may talk to any.
func localServer(ctx context.Context, machine host.Machine, node *corev1.Node) bool {
	result, err := machine.Exec(ctx, []string{"awk", `$1 == "server:" { print $2 }`, kubeletConf}, host.ExecOptions{})
	if err != nil || result.Code != 0 {
		return false
	}
	server, err := url.Parse(strings.TrimSpace(string(result.Stdout)))
	if err != nil {
		return false
	}
	name := server.Hostname()
	if ip := net.ParseIP(name); ip != nil && ip.IsLoopback() || name == "localhost" {
		return true
	}
	return slices.ContainsFunc(node.Status.Addresses, func(a corev1.NodeAddress) bool {
		return a.Type == corev1.NodeInternalIP && a.Address == name
	})
}
