// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// member is an etcd that runs in this process, on sockets that nobody else can reach.
type member struct{ *embed.Etcd }

// scratchMember is how a snapshot is restored to be looked at, as a cluster of one.
func scratchMember(dir string) Restore {
	peer := socket(dir, "peer").String()
	return Restore{DataDir: filepath.Join(dir, "data"), Name: "refit-verify", PeerURLs: []string{peer}, InitialCluster: "refit-verify=" + peer, Token: "refit-verify"}
}

// socket is a Unix socket in a directory that is for this user alone. Its path is short
// enough (108 bytes on Linux) in any usual directory for temporary files.
func socket(dir, name string) *url.URL {
	return &url.URL{Scheme: "unix", Path: filepath.Join(dir, name)}
}

// boot starts etcd on a restored directory and waits until it serves.
func boot(ctx context.Context, r Restore) (*member, error) {
	dir := filepath.Dir(r.DataDir)
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = r.Name, r.DataDir
	cfg.InitialCluster, cfg.InitialClusterToken = r.InitialCluster, r.Token
	peer, client := *socket(dir, "peer"), *socket(dir, "client")
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.EnableGRPCGateway = false
	cfg.UnsafeNoFsync = true // it is thrown away
	cfg.Logger = "zap"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quiet())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd on what was restored: %w", err)
	}
	m := &member{Etcd: e}
	select {
	case <-e.Server.ReadyNotify():
		return m, nil
	case err = <-e.Err():
	case <-e.Server.StopNotify():
		err = errors.New("it stopped by itself")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	m.Close()
	return nil, fmt.Errorf("start etcd on what was restored: %w", err)
}

// client talks to it without a connection.
func (m *member) client() *clientv3.Client {
	return v3client.New(m.Server)
}
