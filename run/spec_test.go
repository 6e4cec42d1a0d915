// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestPlanningOfASpec(t *testing.T) {
	for says, change := range map[string]func(*Spec){
		"":                           func(*Spec) {},
		"-1 nodes of one zone":       func(s *Spec) { s.MaxUnavailablePerZone = -1 },
		"a soak of -1s":              func(s *Spec) { s.Soak = metav1.Duration{Duration: -time.Second} },
		"0.99 moves per pod":         func(s *Spec) { s.MaxMoves = 0.99 },
		"NaN moves per pod":          func(s *Spec) { s.MaxMoves = math.NaN() },
		"+Inf moves per pod":         func(s *Spec) { s.MaxMoves = math.Inf(1) },
		"a grace period of -1":       func(s *Spec) { s.Drain.GracePeriodSeconds = ptr.To[int64](-1) },
		"deleted longer ago than -":  func(s *Spec) { s.Drain.SkipWaitForDelete = metav1.Duration{Duration: -time.Second} },
		"the work is estimated at -": func(s *Spec) { s.WorkEstimate = metav1.Duration{Duration: -time.Minute} },
	} {
		spec := &Spec{
			Run: "20260101-000000-abcd", Nodes: []Target{{Name: "a", UID: "1"}}, Reboot: true,
			MaxUnavailable: Share{number: 1}, Timeouts: DefaultTimeouts(),
		}
		change(spec)
		if err := spec.validate(); says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

// TestAnOlderSpecIsFilledIn: journals outlive versions of refit.
func TestAnOlderSpecIsFilledIn(t *testing.T) {
	for text, estimate := range map[string]time.Duration{
		`{"reboot":true}`:                      DefaultRebootEstimate,
		`{"command":"true"}`:                   DefaultCommandEstimate,
		`{"reboot":true,"workEstimate":"20s"}`: 20 * time.Second,
	} {
		var s Spec
		if err := json.Unmarshal([]byte(text[:len(text)-1]+`,"maxUnavailable":"10%"}`), &s); err != nil {
			t.Fatal(err)
		}
		s.fill()
		if s.MaxMoves != DefaultMaxMoves || s.WorkEstimate.Duration != estimate || s.SurgeSingletons || s.Soak.Duration != 0 {
			t.Errorf("%s: %+v", text, s)
		}
	}
}
