// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"refit.dev/refit/cluster"
)

// FreshVersion returns what asks an API server for its version, each time over a connection of its own:
// behind one address there may be several, and one that is kept open leads to the same one always.
func FreshVersion(config *rest.Config) (func(ctx context.Context) (string, error), error) {
	config = rest.CopyConfig(config)
	config.Dial = (&net.Dialer{}).DialContext // which has the transport be nobody else's
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", cluster.ServerName(config.Host), err)
	}
	client, err := rest.UnversionedRESTClientForConfigAndClient(config, &http.Client{Transport: transport})
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", cluster.ServerName(config.Host), err)
	}
	return func(ctx context.Context) (string, error) {
		defer utilnet.CloseIdleConnectionsFor(transport)
		return askVersion(ctx, client)
	}, nil
}

func askVersion(ctx context.Context, client rest.Interface) (string, error) {
	text, err := client.Get().AbsPath("/version").SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("ask the API server for its version: %w", err)
	}
	var info struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return "", fmt.Errorf("ask the API server for its version: %w", err)
	}
	return info.GitVersion, nil
}

func (o *Operator) version(ctx context.Context) (string, error) {
	if o.Version != nil {
		return o.Version(ctx)
	}
	return askVersion(ctx, o.Client.Discovery().RESTClient())
}
