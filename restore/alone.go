// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"

	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// answerLimit is how long somebody has to take a connection, before nobody is there.
const answerLimit = 5 * time.Second

// alone says who of the cluster still answers, as the new machine sees it: the control plane that is to be made would
// be a second one beside it, of an old state, with the same keys. Nobody answering is no proof that nobody is there; it is what can be
// found out.
func (m *machine) alone(ctx context.Context, b *run.Bootstrap) error {
	for _, member := range b.Members {
		answers, err := m.answers(ctx, member.Address, false)
		if err != nil {
			return err
		}
		if answers {
			return hint.Wrap(&run.BlockedError{Err: fmt.Errorf("etcd's member %s answers at %s: the cluster is not gone", member.Name, member.Address)},
				"join this machine to it (kubeadm join --control-plane); if it is without a quorum, restore it on the machines that are left, or stop them")
		}
	}
	if b.Server == "" {
		return nil
	}
	answers, err := m.answers(ctx, b.Server, true)
	if err == nil && answers {
		err = hint.Wrap(&run.BlockedError{Err: fmt.Errorf("an API server answers at %s, where the nodes of the cluster look for theirs: the cluster is not gone", b.Server)},
			"join this machine to it (kubeadm join --control-plane), or stop what answers there")
	}
	return err
}

// answers tells whether somebody takes connections at an address. With talk it has to be more than a load balancer that has
// nobody behind it, which closes at once. Silence, or an end, may be that of the way to the machine: it counts once the machine
// has answered before it and after it, twice, since the way may have come back meanwhile, and a login take longer than answerLimit.
func (m *machine) answers(ctx context.Context, address string, talk bool) (bool, error) {
	reached := func() error {
		_, err := m.exists(ctx, "/")
		return aboutAsking(address, err)
	}
	for range 2 {
		if err := reached(); err != nil {
			return false, err
		}
		answers, sure, err := m.dialled(ctx, address, talk)
		if err != nil || sure {
			return answers, aboutAsking(address, err)
		}
	}
	return false, reached()
}

func aboutAsking(address string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("ask from the machine whether somebody is at %s: %w", address, err)
}

// dialled asks once. It is not sure that nobody is there unless the machine was told so.
func (m *machine) dialled(ctx context.Context, address string, talk bool) (answers, sure bool, err error) {
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	conn, err := m.m.Dial(limited, address)
	if err == nil {
		defer conn.Close()
	}
	switch {
	case ctx.Err() != nil:
		return false, false, context.Cause(ctx)
	case err == nil && !talk:
		return true, true, nil
	case err == nil:
	case limited.Err() != nil:
		return false, false, nil
	case errors.Is(err, host.ErrNoForwarding) || host.Temporary(err):
		return false, false, err
	default:
		return false, true, nil
	}
	// Who it is does not matter, so no certificate is checked, and nothing is sent.
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}).HandshakeContext(limited) //nolint:gosec // see above
	if ctx.Err() != nil {
		return false, false, context.Cause(ctx)
	}
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
	return !closed, !closed, nil
}

// others are where the other members of etcd were when the snapshot was taken.
func others(members []etcd.Member, own string) (list []run.Answering) {
	for _, member := range members {
		if member.Name == own {
			continue
		}
		for _, text := range slices.Concat(member.ClientURLs, member.PeerURLs) {
			if address := addressOf(text); address != "" {
				list = append(list, run.Answering{Name: member.Name, Address: address})
			}
		}
	}
	return list
}

// serverOf is where a kubeconfig looks for the API server, "host:port"; "" if it does not say.
func serverOf(kubeconfig []byte) string {
	var c struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
			}
		}
	}
	if yaml.Unmarshal(kubeconfig, &c) != nil || len(c.Clusters) == 0 {
		return ""
	}
	return addressOf(c.Clusters[0].Cluster.Server)
}

// addressOf is "host:port" of a URL, "" if it has none.
func addressOf(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "443"
		if strings.EqualFold(u.Scheme, "http") {
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}
