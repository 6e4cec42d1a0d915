// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
)

// plane is a control plane that answers as a test says.
type plane struct {
	*hosttest.Machine
	server, member string // what /readyz and /health answer: status and body
	dialled        []string
}

func newPlane(t *testing.T) *plane {
	p := &plane{Machine: hosttest.New(t, "cp-1"), server: "200 ok", member: `200 {"health":"true","reason":""}`}
	reply := func(w http.ResponseWriter, text string) {
		var code int
		_, _ = fmt.Sscan(text, &code)
		w.WriteHeader(code)
		fmt.Fprint(w, text[4:])
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/livez" {
			reply(w, "200 ok")
			return
		}
		reply(w, p.server)
	}))
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			reply(w, "200 # TYPE x gauge\netcd_mvcc_db_total_size_in_bytes 2.0971520e+07\netcd_server_quota_backend_bytes 2.147483648e+09\netcd_server_is_learner 0\n")
			return
		}
		reply(w, p.member)
	}))
	t.Cleanup(plain.Close)
	p.SetFile(authority, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})), 0o644)
	p.SetDial(func(ctx context.Context, address string) (net.Conn, error) {
		p.dialled = append(p.dialled, address)
		where := plain.Listener.Addr().String()
		if strings.HasSuffix(address, ":6443") {
			where = secure.Listener.Addr().String()
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", where)
	})
	return p
}

// asked looks at the health of what the manifests of a control plane say.
func (p *plane) asked(t *testing.T) (*Health, []string, error) {
	t.Helper()
	r := &reader{m: p.Machine}
	h, err := r.health(t.Context(), &Pods{Static: []StaticPod{
		{Component: etcdName, Flags: []string{"--listen-metrics-urls=http://127.0.0.1:2381"}},
		{Component: "kube-apiserver", Flags: []string{"--advertise-address=127.0.0.1", "--secure-port=6443"}},
	}})
	return h, r.gaps, err
}

func TestHealth(t *testing.T) {
	for name, c := range map[string]struct {
		server, member string
		want, alarm    string
	}{
		"well":                 {},
		"anonymous is refused": {server: "401 Unauthorized"},
		"not ready": {
			server: "500 [+]ping ok\n[-]etcd failed: reason withheld\n[-]informer-sync failed: reason withheld\nreadyz check failed\n",
			want:   "kube-apiserver: /readyz says 500: etcd failed: reason withheld, informer-sync failed: reason withheld",
		},
		"an alarm":    {member: `503 {"health":"false","reason":"ALARM NOSPACE"}`, want: "etcd: it is not healthy: ALARM NOSPACE", alarm: "NOSPACE"},
		"no leader":   {member: `503 {"health":"false","reason":"RAFT NO LEADER"}`, want: "etcd: it is not healthy: RAFT NO LEADER"},
		"not of etcd": {member: "404 not found", want: "etcd: /health says 404, and nothing that could be understood"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlane(t)
			if c.server != "" {
				p.server = c.server
			}
			if c.member != "" {
				p.member = c.member
			}
			h, gaps, err := p.asked(t)
			if err != nil || len(gaps) > 0 || !h.APIServer.Asked || !h.Etcd.Asked {
				t.Fatalf("%+v, gaps %v, %v", h, gaps, err)
			}
			if got := strings.Join(h.problems(), "; "); got != c.want || h.Alarm != c.alarm {
				t.Errorf("got %q, alarm %q", got, h.Alarm)
			}
			if h.Size != 20<<20 || h.Quota != 2<<30 {
				t.Errorf("size %d, quota %d", h.Size, h.Quota)
			}
		})
	}
}

// A component that does not answer has a problem; a machine that cannot be asked leaves a
// gap; one that is out of reach is an error.
func TestHealthOutOfReach(t *testing.T) {
	p := newPlane(t)
	p.SetDial(nil)
	if h, gaps, err := p.asked(t); err != nil || len(gaps) > 0 || len(h.problems()) != 2 || !strings.Contains(h.problems()[0], "connection refused") {
		t.Errorf("%+v, gaps %v, %v", h, gaps, err)
	}
	p.SetDial(func(context.Context, string) (net.Conn, error) { return nil, host.ErrNoForwarding })
	if h, gaps, err := p.asked(t); err != nil || len(gaps) != 2 || len(h.problems()) > 0 || h.Etcd.Asked || h.APIServer.Asked {
		t.Errorf("%+v, gaps %v, %v", h, gaps, err)
	}
	p.SetDial(func(context.Context, string) (net.Conn, error) { return nil, hosttest.ErrLost })
	if h, _, err := p.asked(t); !host.Temporary(err) {
		t.Errorf("%+v, %v", h, err)
	}
}
