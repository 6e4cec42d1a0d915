// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"refit.dev/refit/internal/statedir"
)

// What a lab of three machines takes: measured 3 GiB of memory, and 7 GiB of the disk
// while it is upgraded. What it is made of, and the compiler's own cache of that, take 12
// GiB more the first time.
const (
	memoryNeeded = 5 << 30
	diskNeeded   = 9 << 30
	diskToBuild  = 12 << 30
)

// Check says why this machine cannot carry a lab, a few words each; nothing if nothing
// speaks against it. It only looks. Programs that are missing are no reason: they can be
// installed.
func Check() ([]string, error) {
	if os.Geteuid() != 0 {
		return []string{"a lab's machines are made by root"}, nil
	}
	g := ground{namespaces: tryNamespaces()}
	for path, text := range map[string]*string{
		"/proc/self/status": &g.status, "/proc/filesystems": &g.filesystems, "/proc/meminfo": &g.memory, "/proc/self/mounts": &g.mounts,
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		*text = string(data)
	}
	state, err := statedir.Path("labs")
	if err != nil {
		return nil, err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(state), &disk); err != nil {
		return nil, fmt.Errorf("look at the room in %s: %w", filepath.Dir(state), err)
	}
	g.disk = int64(disk.Bavail) * disk.Bsize //nolint:gosec // no disk has 2^63 bytes
	root, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	stores, err := filepath.Glob(filepath.Join(root, "refit", "lab", "store-*"))
	g.built = len(stores) > 0 // what is made last
	return g.against(), err
}

// ground is what a machine says of itself.
type ground struct {
	status, filesystems, memory, mounts string // files of /proc
	namespaces                          error  // of a try to make those of a container
	disk                                int64  // bytes that are free
	built                               bool   // what a lab is made of is in the cache
}

// tryNamespaces runs a program that does nothing, in namespaces as a container has them.
func tryNamespaces() error {
	cmd := exec.Command("true") //nolint:noctx // it ends at once
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	return cmd.Run()
}

// against returns what speaks against a lab.
func (g ground) against() []string {
	var why []string
	names, _, err := capabilities(g.status)
	if err != nil {
		why = append(why, err.Error())
	}
	have := " " + strings.Join(names, " ") + " "
	var lacks []string
	for _, name := range []string{"SYS_ADMIN", "NET_ADMIN", "SYS_CHROOT", "MKNOD"} {
		if err == nil && !strings.Contains(have, " "+name+" ") {
			lacks = append(lacks, "CAP_"+name)
		}
	}
	if len(lacks) > 0 {
		why = append(why, "root lacks "+strings.Join(lacks, ", "))
	}
	if g.namespaces != nil {
		why = append(why, fmt.Sprintf("containers cannot be made: %v", g.namespaces))
	}
	if err := usableCgroups(g.mounts); err != nil {
		why = append(why, err.Error())
	}
	if !strings.Contains(g.filesystems, "\toverlay\n") {
		why = append(why, "the kernel has no overlay file system")
	}
	if m := available(g.memory); m < memoryNeeded {
		why = append(why, fmt.Sprintf("%d MiB of memory are available, a lab needs %d", m>>20, int64(memoryNeeded)>>20))
	}
	need := int64(diskNeeded)
	if !g.built {
		need += diskToBuild
	}
	if g.disk < need {
		why = append(why, fmt.Sprintf("%d GiB of disk are free, a lab and what it is built from need %d", g.disk>>30, need>>30))
	}
	return why
}

// usableCgroups wants control groups that containers can be put into: the unified
// hierarchy, or that of version 1 with what Docker needs, and written to.
func usableCgroups(mounts string) error {
	v1 := map[string]bool{}
	for lines := bufio.NewScanner(strings.NewReader(mounts)); lines.Scan(); {
		f := strings.Fields(lines.Text()) // device, directory, type, options
		if len(f) < 4 || f[2] != "cgroup" && f[2] != "cgroup2" {
			continue
		}
		options := strings.Split(f[3], ",")
		if options[0] != "rw" {
			continue
		}
		if f[2] == "cgroup2" && f[1] == "/sys/fs/cgroup" {
			return nil
		}
		for _, o := range options {
			v1[o] = true
		}
	}
	for _, controller := range []string{"cpu", "memory", "devices", "freezer", "pids"} {
		if !v1[controller] {
			return errors.New("control groups are not mounted to be written to: " + controller + " is missing")
		}
	}
	return nil
}

// available reads the memory that programs can have, in bytes, from /proc/meminfo.
func available(meminfo string) int64 {
	_, rest, _ := strings.Cut(meminfo, "MemAvailable:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	kib, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
