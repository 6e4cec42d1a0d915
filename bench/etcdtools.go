// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/phrase"
)

// What is stored: objects of a custom resource that no API server knows, so that none
// keeps them in memory. Their content does not repeat.
const (
	fillWriters   = 16
	fillObjects   = 6000 // of each writer
	fillRandom    = 5000 // bytes, twice as many as they are written
	fillNamespace = "/registry/example.com/things/bench/"
)

// fillEtcd writes 1 GB.
func fillEtcd(ctx context.Context, access etcd.Access) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: access.Endpoints, TLS: access.TLS, Context: ctx, Logger: zap.NewNop()})
	if err != nil {
		return fmt.Errorf("connect to etcd: %w", err)
	}
	defer client.Close()
	errs := make([]error, fillWriters)
	var all sync.WaitGroup
	for w := range fillWriters {
		all.Go(func() {
			random := rand.NewChaCha8([32]byte{byte(w)})
			data := make([]byte, fillRandom)
			for i := range fillObjects {
				if _, err := random.Read(data); err != nil {
					errs[w] = err
					return
				}
				name := fmt.Sprintf("t-%d-%d", w, i)
				object := fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"namespace":"bench","name":%q},"data":%q}`, name, hex.EncodeToString(data))
				if _, err := client.Put(ctx, fillNamespace+name, object); err != nil {
					errs[w] = fmt.Errorf("fill etcd: %w", err)
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// restoreByHand runs etcdutl and starts an etcd on what it has made, until that serves.
func (e *environment) restoreByHand(ctx context.Context, file string) (r restored, err error) {
	dir := filepath.Join(e.state, "by-hand")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	client, peer, err := twoAddresses()
	if err != nil {
		return r, err
	}
	made, err := command(ctx, []string{
		filepath.Join(e.state, "etcdutl"), "snapshot", "restore", file, "--data-dir", dir, "--bump-revision", "1000000000", "--mark-compacted",
		"--name", "m", "--initial-cluster", "m=http://" + peer, "--initial-advertise-peer-urls", "http://" + peer,
	})
	if err != nil {
		return r, err
	}
	begun := time.Now()
	server := exec.CommandContext(ctx, filepath.Join(e.bin, "refit-twin"), "etcd", "--name=m", "--data-dir="+dir, "--log-level=error", "--unsafe-no-fsync",
		"--listen-client-urls=http://"+client, "--advertise-client-urls=http://"+client, "--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer,
		"--initial-cluster=m=http://"+peer, "--quota-backend-bytes=8589934592")
	if err := server.Start(); err != nil {
		return r, fmt.Errorf("start etcd: %w", err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed
	}()
	err = e.until(ctx, "etcd serves", func() (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+client+"/health", nil)
		if err != nil {
			return false, err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return answer.StatusCode == http.StatusOK, answer.Body.Close()
	})
	r.made, r.started, r.memory = made.wall, time.Since(begun), made.memory
	r.serving = r.made + r.started
	return r, err
}

// twoAddresses are free ones.
func twoAddresses() (a, b string, err error) {
	first, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer first.Close()
	second, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer second.Close()
	return first.Addr().String(), second.Addr().String(), nil
}

// outputAndPeak runs argv and returns what it wrote to standard output, and the largest
// resident set of it and of the processes of the same program that it starts.
func outputAndPeak(ctx context.Context, argv []string, env ...string) ([]byte, int64, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(cmd.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		return nil, 0, fmt.Errorf("%v: %w", argv, err)
	}
	memory := watchPeak(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		memory()
		return nil, 0, fmt.Errorf("%v: %w\n%s", argv, err, errs.Bytes())
	}
	return out.Bytes(), memory(), nil
}

// family is a process with those that it has started of the same program.
func family(pid int) []string {
	all := []string{strconv.Itoa(pid)}
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return all
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return all
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the thread is gone
		}
		for child := range strings.FieldsSeq(string(children)) {
			if exe, err := os.Readlink("/proc/" + child + "/exe"); err == nil && exe == own {
				all = append(all, child)
			}
		}
	}
	return all
}

// backupSection is what comes of it.
func backupSection(status *etcd.Status, saves []savePair, restores []restorePair) section {
	save := func(what, goal string, of func(sample) float64, show func(spread) string) []string {
		refit, peer := spreadOver(saves, func(p savePair) float64 { return of(p.refit) }), spreadOver(saves, func(p savePair) float64 { return of(p.peer) })
		ratio := spreadOver(saves, func(p savePair) float64 { return of(p.refit) / of(p.peer) })
		return []string{what, show(refit), show(peer), ratio.ratio(), goal}
	}
	restore := func(what, goal string, of func(restored) float64, show func(spread) string) []string {
		refit, peer := spreadOver(restores, func(p restorePair) float64 { return of(p.refit) }), spreadOver(restores, func(p restorePair) float64 { return of(p.peer) })
		if peer.high == 0 {
			return []string{what, show(refit), "", "", goal}
		}
		ratio := spreadOver(restores, func(p restorePair) float64 { return of(p.refit) / of(p.peer) })
		return []string{what, show(refit), show(peer), ratio.ratio(), goal}
	}
	took := func(of func(restored) time.Duration) func(restored) float64 {
		return func(r restored) float64 { return of(r).Seconds() }
	}
	const mib = 1 << 20
	return section{
		title: "Backup and restore of a database of " + humanize.Bytes(uint64(status.TotalSize)), //nolint:gosec // not below 0
		about: fmt.Sprintf("The etcd of a twin, over TLS, with %d objects of 10 kB. Save: `refit backup save`, which hashes what comes and compares it with what etcd says, "+
			"against `etcdctl snapshot save`, which looks at its size. Restore: `refit restore` of the twin, against `etcdutl snapshot restore` and the start of the same etcd on it.", fillWriters*fillObjects),
		tables: []table{
			{columns: []string{"save", "refit", "etcdctl", "ratio", "goal"}, lines: [][]string{
				save("wall time", "at most 1.100", func(s sample) float64 { return s.wall.Seconds() }, spread.seconds),
				save("CPU time", "", func(s sample) float64 { return s.cpu.Seconds() }, spread.seconds),
				save("memory", "", func(s sample) float64 { return float64(s.memory) / mib }, spread.mebibytes),
			}},
			{columns: []string{"restore", "refit", "etcdutl, and a start", "ratio", "goal"}, lines: [][]string{
				restore("snapshot to serving etcd", "at most 1.100", took(func(r restored) time.Duration { return r.serving }), spread.seconds),
				restore("of that making the data directory", "", took(func(r restored) time.Duration { return r.made }), spread.seconds),
				restore("of that stopping the control plane", "", took(func(r restored) time.Duration { return r.stopped }), spread.seconds),
				restore("of that exchange, start, and looking at etcd", "", took(func(r restored) time.Duration { return r.started }), spread.seconds),
				restore("before all that: proving the snapshot", "", took(func(r restored) time.Duration { return r.proof }), spread.seconds),
				restore("memory", "", func(r restored) float64 { return float64(r.memory) / mib }, spread.mebibytes),
			}},
		},
		notes: []string{
			fmt.Sprintf("%s of saves, %s of restores; the programs change places.", phrase.Count(len(saves), "round"), phrase.Count(len(restores), "round")),
			"Memory: the largest resident set of any process of the program; a restored database is mapped into it.",
			"By hand nothing is stopped before, and nobody looks whether what etcd serves is what was saved.",
		},
	}
}
