// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// patience is how long a member of etcd has to answer one question.
const patience = 5 * time.Second

// agreeOnRestored waits until the members of etcd have a leader and the same keys: those
// that were restored.
func (r *restoring) agreeOnRestored(ctx context.Context) error {
	return r.agree(ctx, r.spec.Restore.Revision+int64(r.spec.Restore.BumpRevision)) //nolint:gosec // far below 2^63: validate
}

// agreeOnOld waits until they have a leader and the same keys.
func (r *restoring) agreeOnOld(ctx context.Context) error { return r.agree(ctx, 0) }

// agree waits until the members of etcd agree, at a revision of least or more.
func (r *restoring) agree(ctx context.Context, least int64) error {
	members := make([]etcd.Access, 0, len(r.machines))
	for _, m := range r.machines {
		a, err := m.reach(ctx, m.member)
		if err != nil {
			return fmt.Errorf("machine %s: %w", m.member.Node, err)
		}
		members = append(members, a)
	}
	return r.insist(ctx, "etcd does not serve", "see what etcd says (crictl logs, or journalctl -u etcd), then resume the run", func(ctx context.Context) error {
		agreed, err := etcd.Agree(ctx, members)
		if err == nil && agreed.Revision < least {
			err = fmt.Errorf("etcd is at revision %d, and on the restored data it would be at %d or more: it runs on something else", agreed.Revision, least)
		}
		return err
	})
}

// awaitAPI waits until the API server answers.
func (r *restoring) awaitAPI(ctx context.Context) error {
	if r.ask == nil {
		return nil
	}
	return r.insist(ctx, "the API server does not answer", "see what kube-apiserver says (crictl logs, or journalctl -u kube-apiserver), then resume the run", r.ask)
}

// insist asks until the answer is good.
func (r *restoring) insist(ctx context.Context, what, advice string, ask func(context.Context) error) error {
	deadline := r.clock.Now().Add(startLimit)
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if r.clock.Now().After(deadline) {
			return hint.Wrap(fmt.Errorf("%s after %s: %w", what, startLimit, err), "%s", advice)
		}
		if err := pause(ctx, r.clock); err != nil {
			return err
		}
	}
}

// endpoint is where a member is asked from its own machine: at its loopback address if it
// listens there.
func endpoint(member run.Member) string {
	for _, text := range member.ClientURLs {
		if u, err := url.Parse(text); err == nil {
			switch ip := net.ParseIP(u.Hostname()); {
			case ip == nil:
			case ip.IsLoopback():
				return u.Scheme + "://" + net.JoinHostPort(ip.String(), u.Port())
			case ip.IsUnspecified() && ip.To4() == nil:
				return u.Scheme + "://" + net.JoinHostPort("::1", u.Port())
			case ip.IsUnspecified():
				return u.Scheme + "://" + net.JoinHostPort("127.0.0.1", u.Port())
			}
		}
	}
	return strings.TrimSuffix(member.ClientURLs[0], "/")
}
