// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
)

// together starts members of one cluster, by their names.
func together(t *testing.T, n int) map[string]*etcdtest.Etcd {
	t.Helper()
	peers := map[string]string{}
	var initial []string
	for i := range n {
		name := fmt.Sprintf("cp-%d", i+1)
		peers[name] = etcdtest.Loopback(t)
		initial = append(initial, name+"="+peers[name])
	}
	members := map[string]*etcdtest.Etcd{}
	started := make(chan *etcdtest.Etcd)
	for name, peer := range peers {
		go func() { // each waits for the others
			started <- etcdtest.Start(t, func(c *embed.Config) {
				u, err := url.Parse(peer)
				if err != nil {
					t.Error(err)
					return
				}
				c.Name, c.InitialCluster = name, strings.Join(initial, ",")
				c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*u}, []url.URL{*u}
			})
		}()
	}
	for range peers {
		e := <-started
		members[e.Config().Name] = e
	}
	return members
}

// TestStepAside has the leader of three members go, again and again.
func TestStepAside(t *testing.T) {
	members := together(t, 3)
	led := map[string]bool{}
	for range 4 {
		leader := leaderOf(t, members)
		led[leader] = true
		for name, e := range members {
			if name == leader {
				continue
			}
			if to, err := e.Access().StepAside(t.Context()); to != "" || err != nil {
				t.Errorf("%s does not lead, and %q is to: %v", name, to, err)
			}
		}
		to, err := members[leader].Access().StepAside(t.Context())
		if err != nil || to == leader || members[to] == nil {
			t.Fatalf("%s steps aside for %q: %v", leader, to, err)
		}
		if now := leaderOf(t, members); now != to {
			t.Errorf("%s leads, and was to be %s", now, to)
		}
		put(t, members[leader], "/registry/still", "written")
	}
	if len(led) < 2 {
		t.Errorf("only %v have led", led)
	}
}

// TestStepAsideAlone: a member without others has nobody to step aside for.
func TestStepAsideAlone(t *testing.T) {
	if to, err := etcdtest.Start(t).Access().StepAside(t.Context()); to != "" || err != nil {
		t.Errorf("%q, %v", to, err)
	}
	a := etcd.Access{Endpoints: []string{etcdtest.Loopback(t)}, Patience: time.Second}
	if _, err := a.StepAside(t.Context()); err == nil {
		t.Error("nobody answers, and that is no error")
	}
}

// leaderOf waits until all members see the same leader.
func leaderOf(t *testing.T, members map[string]*etcdtest.Etcd) string {
	t.Helper()
	for {
		seen, name := map[uint64]int{}, ""
		for n, e := range members {
			lead := uint64(e.Server.Leader())
			seen[lead]++
			if uint64(e.Server.MemberID()) == lead {
				name = n
			}
		}
		if len(seen) == 1 && name != "" {
			return name
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the members do not agree on a leader")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
