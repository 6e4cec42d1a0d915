// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// processors is what all processors of the machine have done since it was started, in ticks.
type processors struct{ busy, all uint64 }

// readProcessors reads the first line of /proc/stat; see proc_stat(5).
func readProcessors() (p processors, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return p, fmt.Errorf("read what the processors have done: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	const idle, wait, steal = 3, 4, 7 // of the columns after "cpu"; those after steal are in the first two already
	for i, column := range strings.Fields(line)[1:] {
		ticks, err := strconv.ParseUint(column, 10, 64)
		if err != nil {
			return p, fmt.Errorf("read what the processors have done: %w", err)
		}
		if i > steal {
			break
		}
		p.all += ticks
		if i != idle && i != wait {
			p.busy += ticks
		}
	}
	return p, nil
}

// since is the share of the time since an earlier reading in which the processors were not idle, 1 for
// all of them all the time. Whoever else works on the machine counts as well.
func (p processors) since(before processors) float64 {
	return float64(p.busy-before.busy) / float64(p.all-before.all)
}
