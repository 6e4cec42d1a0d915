// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/host"
	"refit.dev/refit/host/service"
)

// Own keeps of the endpoints the one of the member on the machine itself, as an API server
// beside it names it: at a loopback address, at one of the machine's addresses, or at one of
// urls, which the member says of itself. The last result tells whether there is one.
func (a Access) Own(addresses, urls []string) (Access, bool) {
	for _, e := range a.Endpoints {
		u, err := a.endpoint(e)
		if err != nil {
			continue
		}
		ip := net.ParseIP(u.Hostname())
		if ip != nil && ip.IsLoopback() || u.Hostname() == "localhost" || slices.Contains(addresses, u.Hostname()) ||
			slices.ContainsFunc(urls, func(url string) bool { return strings.TrimRight(url, "/") == strings.TrimRight(e, "/") }) {
			a.Endpoints = []string{e}
			return a, true
		}
	}
	return a, false
}

// AskMember asks the member of etcd on the machine of a node, which is a service of systemd
// there, as the API server beside it would: see Takes. asked is false if the API server does not
// name that member, or if there is none.
func AskMember(ctx context.Context, m host.Machine, node *corev1.Node, patience time.Duration) (why string, asked bool, err error) {
	access, err := Locate(ctx, m, patience)
	if errors.Is(err, ErrNoControlPlane) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	unit, err := service.Look(ctx, m, "etcd")
	if err != nil {
		return "", false, err
	}
	var addresses, urls []string
	for _, a := range node.Status.Addresses {
		addresses = append(addresses, a.Address)
	}
	flags := service.Values(service.Flags(unit.Argv))
	for _, name := range []string{"advertise-client-urls", "listen-client-urls"} {
		urls = append(urls, strings.Split(cmp.Or(flags[name], unit.Environment[service.Variable("etcd", name)]), ",")...)
	}
	own, found := access.Own(addresses, urls)
	if !found {
		return "", false, nil
	}
	why, err = own.Takes(ctx)
	return why, err == nil, err
}

// Takes asks the member at the first endpoint whether it takes part: it answers, sees a
// leader, is not corrupt, knows of no lack of space, and reads through a quorum, as etcdctl
// endpoint health has it do. why says what is not so. The error is of the way there: nothing is
// known of the member.
func (a Access) Takes(ctx context.Context) (why string, err error) {
	if err := a.Check(); err != nil {
		return "", err
	}
	c := a.candidate(ctx, a.Endpoints[0])
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("ask etcd at %s: %w", c.Endpoint, context.Cause(ctx))
	case c.Err != nil && (errors.Is(c.Err, host.ErrNoForwarding) || host.Temporary(c.Err)):
		return "", c.Err
	case c.Err == nil && c.Learner:
		return "", nil // it has no voice, and is missed by nobody
	case c.Err == nil && c.Full:
		return c.Endpoint + " has the alarm NOSPACE", nil
	}
	if why := c.unfit(c.Applied); why != "" {
		return c.Endpoint + " " + why, nil
	}
	return a.reads(ctx)
}

// reads asks for a key that need not be there, which takes a quorum.
func (a Access) reads(ctx context.Context) (why string, err error) {
	client, err := a.connect(ctx, a.Endpoints[0])
	if err != nil {
		return a.Endpoints[0] + " does not answer (" + err.Error() + ")", nil
	}
	defer client.Close()
	limited, cancel := context.WithTimeoutCause(ctx, a.Patience, fmt.Errorf("no answer within %s", a.Patience))
	defer cancel()
	switch _, err = client.Get(limited, "health"); {
	case err == nil, errors.Is(err, rpctypes.ErrPermissionDenied): // that is told after the quorum was asked
		return "", nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("ask etcd at %s: %w", a.Endpoints[0], context.Cause(ctx))
	case limited.Err() != nil:
		err = context.Cause(limited)
	}
	return fmt.Sprintf("%s does not read with the others (%v)", a.Endpoints[0], err), nil
}
