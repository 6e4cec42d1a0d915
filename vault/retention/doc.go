// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package retention decides which backup sets are kept. It is pure.
//
// The rules are those of restic and borg: of each of the last N hours, days, weeks and months in
// which there are sets, the newest set is kept; and the newest N of all. Hours and days are those of UTC,
// weeks those of ISO 8601. A set that one rule keeps is kept. Sets that are known to be broken are
// counted apart, so that they take no place of one that can be restored.
//
// Besides that, whatever the rules say: the newest set that is proven is kept; and a full is
// kept as long as a delta is that needs it.
package retention
