// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// dating is a transport that notes how far the clock of the API server is ahead of that of
// this machine. It is for one request after the other.
//
// The times in objects are written by the control plane, and the clock of an
// administrator's machine may be anything.
type dating struct {
	http.RoundTripper
	clock clock.PassiveClock
	ahead time.Duration
}

// RoundTrip is for package http. The header Date is in RFC 9110, section 6.6.1: whole seconds.
func (d *dating) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // a transport hands errors on as they are
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		d.ahead = date.Sub(d.clock.Now())
	}
	return answer, nil
}

// dated is a discovery client for the same API server, whose requests find out what the time
// is there. An API server that does not tell, as of a test, is taken to have the same time.
func dated(client kubernetes.Interface, c clock.PassiveClock) (discovery.DiscoveryInterface, *dating, error) {
	d := &dating{clock: c}
	known, ok := client.Discovery().RESTClient().(*rest.RESTClient)
	if !ok || known == nil {
		return client.Discovery(), d, nil
	}
	through := *cmp.Or(known.Client, http.DefaultClient)
	d.RoundTripper = through.Transport
	if d.RoundTripper == nil {
		d.RoundTripper = http.DefaultTransport
	}
	through.Transport = d
	content := rest.ClientContentConfig{Negotiator: runtime.NewClientNegotiator(scheme.Codecs.WithoutConversion(), scheme.Scheme.PrioritizedVersionsForGroup("")[0])}
	other, err := rest.NewRESTClient(known.Get().AbsPath("/").URL(), "", content, known.GetRateLimiter(), &through)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the API server for its version: %w", err)
	}
	return discovery.NewDiscoveryClient(other), d, nil
}
