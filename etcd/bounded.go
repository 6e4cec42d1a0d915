// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ownMemory is what reading a small file may take, in bytes.
const ownMemory = 256 << 20

// bounded runs do with no more memory than reading a file of so many bytes can take: bbolt
// follows pages that lead back to themselves, which its check does not see in small
// buckets, until there is no memory left. What wants more ends the process. Where the
// kernel does not tell how much there is in use, nothing is bounded.
func bounded(size int64, do func() error) error {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return do()
	}
	var pages uint64
	if _, err := fmt.Sscan(string(statm), &pages); err != nil {
		return fmt.Errorf("read how much memory is in use: %w", err)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &before); err != nil {
		return fmt.Errorf("read the limit of memory: %w", err)
	}
	// The file is mapped at up to twice its size, and its keys are kept in a map.
	limit := before
	limit.Cur = min(before.Max, before.Cur, pages*uint64(os.Getpagesize())+ownMemory+6*uint64(size)) //nolint:gosec // no size is below 0
	if err := unix.Setrlimit(unix.RLIMIT_AS, &limit); err != nil {
		return fmt.Errorf("limit the memory: %w", err)
	}
	err = do()
	if again := unix.Setrlimit(unix.RLIMIT_AS, &before); again != nil {
		return fmt.Errorf("lift the limit of memory: %w", again)
	}
	return err
}
