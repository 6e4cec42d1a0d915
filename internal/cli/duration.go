// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"refit.dev/refit/toleration"
)

// parseDuration reads a Go duration, in front of which there may be whole days, as
// refit writes them: 1d12h.
func parseDuration(text string) (time.Duration, error) {
	rest, days := text, 0
	if count, after, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(count, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is no duration: say 30s, 5m or 1h30m", text)
		}
		if rest, days = after, int(n); rest == "" {
			rest = "0s"
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || days > 0 && d < 0 {
		return 0, fmt.Errorf("%q is no duration: say 30s, 5m or 1h30m", text)
	}
	sum := time.Duration(days)*24*time.Hour + d
	if days > 0 && sum < d {
		return 0, fmt.Errorf("%q is more than any clock knows", text)
	}
	return sum, nil
}

// awayValue is the flag that says how long nodes are away; 0, which cannot be said, is
// for ever.
type awayValue time.Duration

func (v *awayValue) Type() string { return "duration" }

func (v *awayValue) String() string {
	if *v == 0 {
		return ""
	}
	return toleration.Span(time.Duration(*v))
}

func (v *awayValue) Set(text string) error {
	d, err := parseDuration(text)
	*v = awayValue(d)
	return err
}
