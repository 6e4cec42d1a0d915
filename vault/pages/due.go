// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

// FullIsDue tells whether another full is better than one more delta: base is what the full
// takes in the store, deltas what those of it take, and next what one more would. A delta grows with
// the changes since its full, so that what a set takes in the mean falls as long as the next
// delta takes less than the mean so far, and rises from then on.
func FullIsDue(base int64, deltas []int64, next int64) bool {
	sum := base
	for _, d := range deltas {
		sum += d
	}
	return next*int64(len(deltas)+1) >= sum
}
