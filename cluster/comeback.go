// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/utils/clock"
)

// knockEvery is how long to wait before a server that refuses connections is tried again.
const knockEvery = 500 * time.Millisecond

// AwaitServer wraps the transport of a client with which Watch is called. A watch whose
// connection is refused is tried again every half second until the request's context
// ends, instead of failing.
//
// Without it the caches stand still for up to a minute after an API server is back:
// client-go tries a refused watch again after 0.8 s, 1.6 s and so on up to 30 s and as
// much again by chance (tools/cache/reflector.go, isWatchErrorRetriable), and tells
// nobody. That is meant for thousands of kubelets that come back at the same time.
func AwaitServer(next http.RoundTripper) http.RoundTripper {
	return awaiting{next, clock.RealClock{}}
}

type awaiting struct {
	next  http.RoundTripper
	clock clock.WithTicker
}

func (a awaiting) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		response, err := a.next.RoundTrip(r)
		if err == nil || !utilnet.IsConnectionRefused(err) || r.Method != http.MethodGet || r.URL.Query().Get("watch") != "true" {
			return response, err
		}
		again := a.clock.NewTimer(knockEvery)
		select {
		case <-again.C():
		case <-r.Context().Done():
			again.Stop()
			return nil, err
		}
	}
}

// WrappedRoundTripper lets client-go reach the transport below, to close its connections.
func (a awaiting) WrappedRoundTripper() http.RoundTripper { return a.next }
