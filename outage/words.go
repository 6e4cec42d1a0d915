// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"time"

	"refit.dev/refit/toleration"
)

// span writes a duration without what is nothing: 5m instead of 5m0s.
func span(d time.Duration) string { return toleration.Span(d) }

// clockTime is a moment in words: to the second.
func clockTime(seconds float64) string {
	if seconds > 100*Longest.Seconds() { // no duration can hold some
		return "more than 100 years"
	}
	return span(time.Duration(seconds * float64(time.Second)).Round(time.Second))
}
