// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/dustin/go-humanize"
	"github.com/klauspost/compress/zstd"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"refit.dev/refit/internal/phrase"
)

// vaultScale is how large the benchmark of backup sets is.
type vaultScale struct {
	megabytes int64 // of the database
	sets      int   // one an hour
}

// rewritten is the share of the keys that are rewritten between two sets.
const rewritten = 0.02

// vaultGoal is the share of what fulls take that sets may take.
const vaultGoal = "at most 0.125"

// hourlySets is what sets take in a store, and what compressed fulls of the same moments take.
type hourlySets struct {
	churn           string
	database        int64 // bytes in the end
	sets, fulls     int64 // bytes
	wholes          int   // how many of the sets are fulls
	saves, compress []time.Duration
}

// backupSets saves a set an hour of an etcd whose keys are rewritten, and compresses snapshots of etcdctl
// of the same moments.
func backupSets(ctx context.Context, b *bench) (section, error) {
	if _, err := output(ctx, []string{"go", "build", "-C", etcdTools, "-o", b.state, "go.etcd.io/etcd/etcdctl/v3"}); err != nil {
		return section{}, err
	}
	var all []hourlySets
	for _, churn := range []string{"the same each hour", "others each hour"} {
		s, err := b.hourly(ctx, churn, churn != "the same each hour")
		if err != nil {
			return section{}, fmt.Errorf("keys that are %s: %w", churn, err)
		}
		all = append(all, s)
	}
	return b.vaultSection(all), nil
}

func (b *bench) hourly(ctx context.Context, churn string, others bool) (s hourlySets, err error) {
	dir, err := os.MkdirTemp(b.state, "vault-")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	client, endpoint, stop, err := b.bareEtcd(ctx, filepath.Join(dir, "etcd"))
	if err != nil {
		return s, err
	}
	defer stop()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return s, err
	}
	identity := filepath.Join(dir, "key")
	if err := os.WriteFile(identity, []byte(key.String()+"\n"), 0o600); err != nil {
		return s, err
	}
	db := newChurned(client, b.vault.megabytes)
	if err := db.fill(ctx); err != nil {
		return s, err
	}
	s.churn = churn
	store, state := "file://"+filepath.Join(dir, "store"), "REFIT_STATE_DIR="+filepath.Join(dir, "state")
	refit := filepath.Join(b.bin, "refit")
	for hour := range b.vault.sets {
		if hour > 0 {
			if err := db.rewrite(ctx, others); err != nil {
				return s, err
			}
		}
		begun := time.Now()
		text, err := output(ctx, []string{refit, "backup", "save", "--to", store, "--recipient", key.Recipient().String(), "--endpoints", endpoint, "--scratch-dir", dir, "-o", "json"}, state)
		if err != nil {
			return s, err
		}
		s.saves = append(s.saves, time.Since(begun))
		var saved struct {
			Base        *struct{ Name string }
			StoredBytes int64
			Snapshot    struct{ Bytes int64 }
		}
		if err := json.Unmarshal(text, &saved); err != nil {
			return s, fmt.Errorf("read what refit has saved: %w", err)
		}
		s.sets, s.database = s.sets+saved.StoredBytes, saved.Snapshot.Bytes
		if saved.Base == nil {
			s.wholes++
		}
		full, took, err := b.compressedFull(ctx, endpoint, filepath.Join(dir, "peer.db"))
		if err != nil {
			return s, err
		}
		s.fulls, s.compress = s.fulls+full, append(s.compress, took)
		b.logf("hour %d, keys %s: set %s in %s, compressed full %s in %s", hour+1, churn, humanize.Bytes(uint64(saved.StoredBytes)), s.saves[hour].Round(time.Millisecond), //nolint:gosec // not below 0
			humanize.Bytes(uint64(full)), took.Round(time.Millisecond)) //nolint:gosec // not below 0
	}
	// Sets that cannot be restored would be small for nothing.
	_, err = output(ctx, []string{refit, "backup", "verify", store + "/latest", "--identity", identity, "--scratch-dir", dir}, state)
	return s, err
}

// compressedFull is how many bytes a snapshot of etcdctl takes that is compressed as sets are, and how long that takes.
func (b *bench) compressedFull(ctx context.Context, endpoint, file string) (bytes int64, took time.Duration, err error) {
	begun := time.Now()
	if _, err := output(ctx, []string{filepath.Join(b.state, "etcdctl"), "--endpoints", endpoint, "snapshot", "save", file}); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.Remove(file)) }()
	from, err := os.Open(file)
	if err != nil {
		return 0, 0, err
	}
	defer from.Close()
	to, err := os.Create(file + ".zst")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, to.Close(), os.Remove(to.Name())) }()
	w, err := zstd.NewWriter(to)
	if err != nil {
		return 0, 0, err
	}
	_, err = io.Copy(w, from)
	if err := errors.Join(err, w.Close(), to.Sync()); err != nil {
		return 0, 0, err
	}
	info, err := to.Stat()
	if err != nil {
		return 0, 0, err
	}
	return info.Size(), time.Since(begun), nil
}

// bareEtcd starts an etcd without an API server. stop ends it.
func (b *bench) bareEtcd(ctx context.Context, dir string) (client *clientv3.Client, endpoint string, stop func(), err error) {
	address, peer, err := twoAddresses()
	if err != nil {
		return nil, "", nil, err
	}
	endpoint = "http://" + address
	server := exec.CommandContext(ctx, filepath.Join(b.bin, "refit-twin"), "etcd", "--name=m", "--data-dir="+dir, "--log-level=error", "--unsafe-no-fsync",
		"--listen-client-urls="+endpoint, "--advertise-client-urls="+endpoint, "--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer,
		"--initial-cluster=m=http://"+peer, "--quota-backend-bytes=8589934592")
	if err := server.Start(); err != nil {
		return nil, "", nil, fmt.Errorf("start etcd: %w", err)
	}
	end := func() {
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed
	}
	client, err = clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Context: ctx, Logger: zap.NewNop(), DialTimeout: settleTimeout})
	if err != nil {
		end()
		return nil, "", nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return client, endpoint, func() {
		_ = client.Close()
		end()
	}, nil
}

func (b *bench) vaultSection(all []hourlySets) section {
	t := table{columns: []string{"keys that are rewritten", "sets", "of them fulls", "compressed fulls", "ratio", "goal", "a save takes", "etcdctl and zstd take"}}
	for _, s := range all {
		seconds := func(list []time.Duration) string {
			return spreadOver(list, time.Duration.Seconds).seconds()
		}
		t.lines = append(t.lines, []string{
			s.churn, humanize.Bytes(uint64(s.sets)), fmt.Sprint(s.wholes), humanize.Bytes(uint64(s.fulls)), //nolint:gosec // not below 0
			fmt.Sprintf("%.3f", float64(s.sets)/float64(s.fulls)), vaultGoal, seconds(s.saves), seconds(s.compress),
		})
	}
	return section{
		title: fmt.Sprintf("%s of a database of %s", phrase.Count(b.vault.sets, "hourly backup set"), humanize.Bytes(uint64(all[0].database))), //nolint:gosec // not below 0
		about: fmt.Sprintf("An etcd of objects of 1 to 9 kB that compress to half. Between two sets %.0f%% of the keys are rewritten, and what they were before is compacted, as an API server has it done. "+
			"`refit backup save --to file:///...`, encrypted, against `etcdctl snapshot save` of the same moments, compressed with zstd at the same level.", 100*rewritten),
		tables: []table{t},
		notes: []string{
			"The last set of each was proven with `refit backup verify`.",
			"Leases and the status of nodes are keys that are rewritten again and again. Where others are each hour, a delta of one full - never of another delta - holds all that has changed since that full: " +
				"even if it held no byte besides, such sets would take about 0.19 of what fulls take, with a full every 10 or every 12 hours.",
		},
	}
}
