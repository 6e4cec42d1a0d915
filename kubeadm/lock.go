// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// lock returns the first of the lock files that somebody holds, and who; nil if
// nobody does. The kernel's list of locks is read for it, as the programs that would
// tell (fuser, lsof) are often not installed, and taking the lock to find out could
// make the package manager fail.
func (r *reader) lock(ctx context.Context, files ...string) (*Lock, error) {
	inodes, err := r.find(ctx, append(files, "-maxdepth", "0", "-printf", `%i %p\n`)...)
	if err != nil {
		return nil, err
	}
	table, found, err := r.file(ctx, "/proc/locks")
	if err != nil || !found {
		return nil, err
	}
	holders := parseLocks(table)
	for _, line := range inodes {
		inode, path, _ := strings.Cut(line, " ")
		pid, held := holders[inode]
		if !held {
			continue
		}
		name, _, err := r.file(ctx, fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			return nil, err
		}
		return &Lock{Path: path, PID: pid, Process: strings.TrimSpace(name)}, nil
	}
	return nil, nil
}

// parseLocks reads /proc/locks into who holds a write lock on which inode; see
// proc_locks(5): "1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF". Lines with "->"
// are processes that wait.
func parseLocks(table string) map[string]int {
	holders := map[string]int{}
	for _, line := range lines(table) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] == "->" || f[3] != "WRITE" {
			continue
		}
		device := strings.Split(f[5], ":")
		pid, err := strconv.Atoi(f[4])
		if err != nil || pid <= 0 || len(device) != 3 { // -1: an open file description's lock
			continue
		}
		holders[device[2]] = pid
	}
	return holders
}
