// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestTimeOfTheServer: snapshots are dated by the clock of the API server, and a clock of this
// machine that is wrong by hours makes no difference.
func TestTimeOfTheServer(t *testing.T) {
	there := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	api := &apiServer{}
	api.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", there.Format(http.TimeFormat))
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	client := clientFor(t, &rest.Config{Host: api.URL})
	for _, wrong := range []time.Duration{0, 7 * time.Hour, -3 * time.Minute} {
		here := clocktesting.NewFakeClock(there.Add(wrong))
		s, err := Read(t.Context(), client, WithClock(here))
		if err != nil {
			t.Fatal(err)
		}
		if !s.Time.Equal(there) {
			t.Errorf("with a clock wrong by %v the snapshot is of %v, want %v", wrong, s.Time, there)
		}
		w, err := Watch(t.Context(), client, WithClock(here))
		if err != nil {
			t.Fatal(err)
		}
		here.Step(time.Minute)
		if got := w.Snapshot().Time; !got.Equal(there.Add(time.Minute)) {
			t.Errorf("with a clock wrong by %v a snapshot a minute later is of %v", wrong, got)
		}
		w.Stop()
	}
	if n := len(api.asked("version")); n != 6 {
		t.Errorf("the version was asked for %d times, which is once for each", n)
	}
}
