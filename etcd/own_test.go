// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/host"
)

// TestTakes: a member of two takes part until the other one is gone.
func TestTakes(t *testing.T) {
	members := together(t, 2)
	leaderOf(t, members)
	for name, e := range members {
		if why, err := e.Access().Takes(t.Context()); why != "" || err != nil {
			t.Errorf("%s: %q, %v", name, why, err)
		}
	}
	gone := etcd.Access{Endpoints: []string{etcdtest.Loopback(t)}, Patience: time.Second}
	if why, err := gone.Takes(t.Context()); err != nil || !strings.Contains(why, "does not answer") {
		t.Errorf("one that is gone: %q, %v", why, err)
	}
	members["cp-2"].Server.HardStop()
	one := members["cp-1"].Access()
	one.Patience = 2 * time.Second
	why, err := one.Takes(t.Context())
	if err != nil || !strings.Contains(why, "sees no leader") && !strings.Contains(why, "does not read with the others") {
		t.Errorf("one that is left alone: %q, %v", why, err)
	}
}

// TestTakesUnknown: who does not get as far as the member knows nothing of it.
func TestTakesUnknown(t *testing.T) {
	a := etcdtest.Start(t).Access()
	a.Dial = func(context.Context, string) (net.Conn, error) {
		return nil, fmt.Errorf("dial: %w", host.ErrNoForwarding)
	}
	if why, err := a.Takes(t.Context()); why != "" || !errors.Is(err, host.ErrNoForwarding) {
		t.Errorf("%q, %v", why, err)
	}
}

// TestAskMember asks as the API server does that is a service beside the member.
func TestAskMember(t *testing.T) {
	e := etcdtest.Start(t)
	unit := func(servers string) string {
		return "LoadState=loaded\nActiveState=active\nMainPID=7\nExecStart={ path=/k ; argv[]=/k --etcd-servers=" + servers + " ; ignore_errors=no ; pid=7 }\n"
	}
	named := strings.Replace(e.Endpoint, "127.0.0.1", "LocalHost", 1) // a name like any other
	const member = "LoadState=loaded\nActiveState=active\nMainPID=8\nExecStart={ path=/e ; argv[]=/e %s ; ignore_errors=no ; pid=8 }\nEnvironment=%s\n"
	for name, c := range map[string]struct {
		servers, member, why string
		asked                bool
	}{
		"well":                   {servers: "http://10.255.0.1:2379," + e.Endpoint, asked: true},
		"gone":                   {servers: etcdtest.Loopback(t), why: "does not answer", asked: true},
		"another's":              {servers: "http://10.255.0.1:2379"},
		"no API servers":         {},
		"a name":                 {servers: named},
		"a name in a flag":       {servers: named, member: fmt.Sprintf(member, "-advertise-client-urls "+named, ""), asked: true},
		"a name in the variable": {servers: named, member: fmt.Sprintf(member, "", "ETCD_ADVERTISE_CLIENT_URLS="+named), asked: true},
	} {
		m := controlPlane{Machine: host.Own(nil), member: c.member}
		if c.servers != "" {
			m.unit = unit(c.servers)
		}
		why, asked, err := etcd.AskMember(t.Context(), m, &corev1.Node{}, 5*time.Second)
		if err != nil || asked != c.asked || !strings.Contains(why, c.why) || c.why == "" && why != "" {
			t.Errorf("%s: %q, %t, %v", name, why, asked, err)
		}
	}
}

func TestOwn(t *testing.T) {
	for _, c := range []struct {
		endpoints, addresses, urls, want string
	}{
		{"https://127.0.0.1:2379", "10.0.0.1", "", "https://127.0.0.1:2379"},
		{"https://[::1]:2379", "", "", "https://[::1]:2379"},
		{"https://10.0.0.1:2379,https://10.0.0.2:2379", "10.0.0.2", "", "https://10.0.0.2:2379"},
		{"https://etcd-1:2379,https://etcd-2:2379", "10.0.0.2", "http://127.0.0.1:2379 https://etcd-2:2379/", "https://etcd-2:2379"},
		{"https://etcd-1:2379,https://etcd-2:2379", "etcd-1", "", "https://etcd-1:2379"},
		{"https://10.0.0.1:2379,https://10.0.0.2:2379", "10.0.0.3", "https://10.0.0.3:2379", ""},
	} {
		a := etcd.Access{Endpoints: strings.Split(c.endpoints, ",")}
		own, found := a.Own(strings.Fields(c.addresses), strings.Fields(c.urls))
		if found != (c.want != "") || found && (len(own.Endpoints) != 1 || own.Endpoints[0] != c.want) {
			t.Errorf("of %s, with %q and %q: %v, %t", c.endpoints, c.addresses, c.urls, own.Endpoints, found)
		}
	}
}
