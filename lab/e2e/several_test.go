// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"refit.dev/refit/lab"
)

// TestSeveralControlPlanes upgrades three control planes behind a load balancer, and wants
// that nobody notices who tries once more: `make e2e-ha`.
func TestSeveralControlPlanes(t *testing.T) {
	l := up(t, lab.Options{Name: "e2e-ha", ControlPlanes: 3, Workers: 2})
	o := newOperator(t, l)
	inMachine(t, l, "cp3", "there is no crictl", withoutCRICtl, nil)
	members := watchEtcd(t, l)
	// What is kept stays with its API server until the balancer has noticed.
	fresh, kept := api(t, l, false, balancedPatience), api(t, l, true, patience)
	w1, w2 := service(t, l, "w1"), service(t, l, "w2")
	t.Run("one command upgrades the cluster", func(t *testing.T) {
		o.run(t, o.apply()...).want(t, 0, "5 of 5 nodes upgraded", "etcd is led by")
	})
	t.Run("the API was served through the balancer all the time", func(t *testing.T) {
		fresh.wantAgain(t, "the API, on a new connection each")
		kept.wantAgain(t, "the API, on a kept connection")
	})
	t.Run("the Service was served all the time", func(t *testing.T) {
		w1.wantAll(t, "the Service through w1")
		w2.wantAll(t, "the Service through w2")
	})
	t.Run("etcd was never below its quorum", func(t *testing.T) {
		members.end()
		t.Logf("etcd was asked %d times: %d of 3 members answered at least, the slowest answer took %s; %d times fewer than two saw a leader, %d in a row at most",
			members.rounds, members.fewest, members.slowest.Round(time.Millisecond), members.leaderless, members.rowMost)
		if members.rounds == 0 || members.fewest < 2 {
			t.Errorf("%d of 3 members answered at least: %v", members.fewest, members.last)
		}
		// An election takes a second or two.
		if members.rowMost > 50 {
			t.Errorf("fewer than two members saw a leader %d times in a row: that is no election", members.rowMost)
		}
	})
	wantUpgraded(t, l)
	t.Run("the Service answers through all machines", func(t *testing.T) { wantAnswers(t, l) })
	t.Run("three members are restored from a backup", func(t *testing.T) { restores(t, l) })
}

// etcdWatch is what was seen of etcd's members.
type etcdWatch struct {
	stop    context.CancelFunc
	done    sync.WaitGroup
	rounds  int
	fewest  int // members that answered in the worst round, whatever they said
	last    error
	slowest time.Duration
	// leaderless are the rounds in which fewer than two members could read what a quorum
	// agrees to: they were electing a leader. row is how many of the last were such rounds, rowMost the
	// most one after the other.
	leaderless, row, rowMost int
}

func (e *etcdWatch) end() {
	e.stop()
	e.done.Wait()
}

// watchEtcd asks all members at once, again and again. A member says at /health that it is
// well after a read that a quorum has agreed to (go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp).
func watchEtcd(t *testing.T, l *lab.Lab) *etcdWatch {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	e := &etcdWatch{stop: cancel, fewest: 3}
	t.Cleanup(e.end)
	file := func(name string) []byte {
		return []byte(inMachine(t, l, "cp1", "read "+name, "cat /etc/kubernetes/pki/etcd/"+name, nil))
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(file("ca.crt"))
	certificate, err := tls.X509KeyPair(file("healthcheck-client.crt"), file("healthcheck-client.key"))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
	var members []string
	for _, m := range l.Nodes() {
		if m.Role == lab.ControlPlane {
			members = append(members, fmt.Sprintf("https://%s:2379/health", m.Address))
		}
	}
	e.done.Go(func() {
		for ctx.Err() == nil {
			e.round(ctx, client, members)
		}
	})
	return e
}

// round asks each member once.
func (e *etcdWatch) round(ctx context.Context, client *http.Client, members []string) {
	pause := time.After(4 * askEvery)
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun := time.Now()
	errs := make([]error, len(members))
	var asked sync.WaitGroup
	for i, url := range members {
		asked.Go(func() { errs[i] = answered(limited, client, url) })
	}
	asked.Wait()
	if ctx.Err() != nil {
		return
	}
	e.rounds++
	there, agreed := 0, 0
	for _, err := range errs {
		if err == nil {
			agreed++
		}
		if _, said := errors.AsType[*statusError](err); said || err == nil {
			there++
		}
	}
	if agreed < 2 {
		e.leaderless++
		e.row++
		e.rowMost = max(e.rowMost, e.row)
	} else {
		e.row = 0
	}
	if there < e.fewest {
		e.fewest, e.last = there, errors.Join(errs...)
	}
	e.slowest = max(e.slowest, time.Since(begun))
	<-pause
}
