// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestWhatSpeaksAgainstALab(t *testing.T) {
	const v1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n" +
		"cgroup /sys/fs/cgroup/devices cgroup rw,devices 0 0\ncgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\n" +
		"cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n"
	good := ground{
		status: "CapBnd:\t000001fffeffffff\n", filesystems: "nodev\toverlay\n\text4\n", memory: "MemAvailable:   12345678 kB\n",
		mounts: "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n", disk: 40 << 30,
	}
	for _, tc := range []struct {
		name string
		make func(*ground)
		want string // begins what is said; empty: nothing is
	}{
		{"a usual machine", func(*ground) {}, ""},
		{"control groups of version 1", func(g *ground) { g.mounts = v1 }, ""},
		{"without CAP_SYS_RESOURCE", func(g *ground) { g.status = "CapBnd:\t000001fffeffffff\n" }, ""},
		{"no capabilities", func(g *ground) { g.status = "CapBnd:\t00000000a80425fb\n" }, "root lacks CAP_SYS_ADMIN, CAP_NET_ADMIN"},
		{"capabilities are not told", func(g *ground) { g.status = "" }, "the system does not tell the capabilities"},
		{"namespaces are refused", func(g *ground) { g.namespaces = syscall.EPERM }, "containers cannot be made: operation not permitted"},
		{"control groups are read-only", func(g *ground) { g.mounts = "cgroup2 /sys/fs/cgroup cgroup2 ro,nosuid 0 0\n" }, "control groups are not mounted to be written to: cpu is missing"},
		{"a control group is missing", func(g *ground) { g.mounts = strings.ReplaceAll(v1, "pids", "rdma") }, "control groups are not mounted to be written to: pids is missing"},
		{"no overlay", func(g *ground) { g.filesystems = "\text4\n" }, "the kernel has no overlay file system"},
		{"little memory", func(g *ground) { g.memory = "MemAvailable: 1048576 kB\n" }, "1024 MiB of memory are available, a lab needs 5120"},
		{"little room", func(g *ground) { g.disk = 10 << 30 }, "10 GiB of disk are free, a lab and what it is built from need 21"},
		{"little room, and nothing to build", func(g *ground) { g.disk, g.built = 10<<30, true }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := good
			tc.make(&g)
			got := g.against()
			if tc.want == "" && len(got) > 0 || tc.want != "" && !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, tc.want) }) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
