// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// refusing refuses connections a number of times.
type refusing struct {
	times int
	asked int
}

func (r *refusing) RoundTrip(*http.Request) (*http.Response, error) {
	if r.asked++; r.asked <= r.times {
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestWatchesWaitForTheServer(t *testing.T) {
	for _, tc := range []struct {
		name, method, url string
		asked             int
		refused           bool
	}{
		{"a watch is tried again", http.MethodGet, "https://server/api/v1/nodes?watch=true", 4, false},
		{"a list fails at once", http.MethodGet, "https://server/api/v1/nodes", 1, true},
		{"what changes something fails at once", http.MethodPost, "https://server/api/v1/nodes?watch=true", 1, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := &refusing{times: 3}
			fake := clocktesting.NewFakeClock(time.Now())
			request, err := http.NewRequestWithContext(t.Context(), tc.method, tc.url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				var response *http.Response
				if response, err = (awaiting{next, fake}).RoundTrip(request); err == nil {
					_ = response.Body.Close()
				}
			}()
			stepUntil(t, fake, done)
			if refused := errors.Is(err, syscall.ECONNREFUSED); refused != tc.refused || next.asked != tc.asked {
				t.Errorf("asked %d times, then %v; want %d times, refused %t", next.asked, err, tc.asked, tc.refused)
			}
		})
	}
}

// stepUntil lets time pass for whoever waits, until done.
func stepUntil(t *testing.T, fake *clocktesting.FakeClock, done <-chan struct{}) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case <-done:
			return
		case <-limit:
			t.Fatal("it hangs")
		case <-time.After(time.Millisecond):
			if fake.HasWaiters() {
				fake.Step(knockEvery)
			}
		}
	}
}

func TestAWatchThatWaitsEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://server/api/v1/nodes?watch=true", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := awaiting{&refusing{times: 1 << 30}, clocktesting.NewFakeClock(time.Now())}.RoundTrip(request)
	if err == nil {
		_ = response.Body.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}
