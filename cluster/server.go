// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/url"
	"strings"
)

// ServerName is what may be shown, recorded and compared of the URL of an API server (rest.Config.Host): the
// URL without a login, a query and a fragment, which client-go takes as a part of it, and which open what is behind them. Two
// URLs of one server with different logins have one name.
func ServerName(server string) string {
	u, err := url.Parse(server)
	if err == nil && u.Host != "" {
		u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
		return u.String()
	}
	// It has no scheme, or is no URL at all: who reads it is told what cannot be a secret.
	server = server[strings.LastIndex(server, "@")+1:]
	if end := strings.IndexAny(server, "?#"); end >= 0 {
		server = server[:end]
	}
	return server
}
