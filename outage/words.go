// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"strings"
	"time"
)

// span writes a duration without what is nothing: 5m instead of 5m0s.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// clockTime is a moment in words: to the second.
func clockTime(seconds float64) string {
	return span(time.Duration(seconds * float64(time.Second)).Round(time.Second))
}
