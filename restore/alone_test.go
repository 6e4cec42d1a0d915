// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
)

// somebody takes connections, and does with them what do does.
func somebody(t *testing.T, do func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			do(c)
		}
	}()
	return l.Addr().String()
}

// kubeconfigOf has the kubelet look for the API server at a URL.
func (l *lost) kubeconfigOf(server string) {
	for i, f := range l.request.Files {
		if f.Path == kubeletConfig {
			l.request.Files[i].Data = append([]byte("clusters:\n- name: c\n  cluster: {server: \""+server+"\"}\n"), f.Data...)
		}
	}
}

// TestAlone: a cluster of which somebody answers is not gone, whoever it is; a balancer with nobody behind it is nobody.
func TestAlone(t *testing.T) {
	unwell := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer unwell.Close()
	member := somebody(t, func(c net.Conn) { t.Cleanup(func() { c.Close() }) })
	for name, c := range map[string]struct {
		do   func(*lost)
		says string
	}{
		"a member": {func(l *lost) {
			l.request.Snapshot.Members = append(l.request.Snapshot.Members, etcd.Member{Name: "cp2", ClientURLs: []string{"https://" + member}})
		}, "etcd's member cp2 answers at " + member},
		"an API server with another authority": {func(l *lost) { l.kubeconfigOf(unwell.URL) }, "an API server answers at " + strings.TrimPrefix(unwell.URL, "https://")},
		"a balancer alone":                     {func(l *lost) { l.kubeconfigOf("https://" + somebody(t, func(c net.Conn) { c.Close() })) }, ""},
		"nobody": {func(l *lost) {
			l.kubeconfigOf("https://127.0.0.1:1")
			l.request.Snapshot.Members = append(l.request.Snapshot.Members, etcd.Member{Name: "cp2", ClientURLs: []string{"https://127.0.0.1:1"}})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLost(t)
			c.do(l)
			_, err := l.operator().PrepareBootstrap(t.Context(), l.request)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("want %q: %v", c.says, err)
			}
		})
	}
}

// TestAloneWhenResumed: a member that is back by the time the machine is touched, or etcd is about to be exchanged, stops a run
// that can be given up then.
func TestAloneWhenResumed(t *testing.T) {
	for _, n := range []int{0, 60} {
		l := newLost(t)
		before := l.tree()
		free, err := net.Listen("tcp", "127.0.77.1:0") // an address that nobody else takes a free port of
		if err != nil {
			t.Fatal(err)
		}
		at := free.Addr().String()
		free.Close()
		l.request.Snapshot.Members = append(l.request.Snapshot.Members, etcd.Member{Name: "cp2", ClientURLs: []string{"https://" + at}})
		p, err := l.operator().PrepareBootstrap(t.Context(), l.request)
		if err != nil {
			t.Fatal(err)
		}
		*l.machine.left = n
		if _, err := l.operator().Begin(t.Context(), p.Spec); err != nil {
			t.Fatal(err)
		}
		*l.machine.left = unlimited
		back, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		o, err := l.operator().Resume(t.Context(), p.Spec.Run)
		back.Close()
		if err != nil || o.Result != event.ResultFailed || !strings.Contains(o.Reason, "cp2 answers") {
			t.Fatalf("after %d commands: %+v, %v", n, o, err)
		}
		if err := l.operator().Abort(t.Context(), p.Spec.Run); err != nil {
			t.Fatal(err)
		}
		if there := l.tree(); !maps.Equal(there, before) || !l.kubelet {
			t.Errorf("after %d commands, and given up: there is %v, and was %v", n, there, before)
		}
	}
}

// TestBootstrapOfTwo: of two runs for one machine the second touches nothing, whatever the first has come to, neither when it is carried
// on nor when it is given up.
func TestBootstrapOfTwo(t *testing.T) {
	for _, n := range []int{60, 85, unlimited} {
		l := newLost(t)
		second, err := l.operator().PrepareBootstrap(t.Context(), l.request)
		if err != nil {
			t.Fatal(err)
		}
		*l.machine.left = 0
		if _, err := l.operator().Begin(t.Context(), second.Spec); err != nil {
			t.Fatal(err)
		}
		*l.machine.left = unlimited
		l.request.Keep += ".first"
		first, err := l.operator().PrepareBootstrap(t.Context(), l.request)
		if err != nil {
			t.Fatal(err)
		}
		*l.machine.left = n
		if _, err := l.operator().Begin(t.Context(), first.Spec); err != nil {
			t.Fatal(err)
		}
		*l.machine.left = unlimited
		before, kubelet := l.tree(), l.kubelet
		if _, err := os.Stat(l.machine.root + clusterCAKey); err != nil {
			t.Fatalf("the first has not put its files after %d commands: %v", n, err)
		}
		same := func(when string) {
			if there := l.tree(); !maps.Equal(there, before) || l.kubelet != kubelet {
				t.Errorf("the first came to %d commands; the second %s: there is %v, and was %v; the kubelet runs: %t", n, when, there, before, l.kubelet)
			}
		}
		if o, err := l.operator().Resume(t.Context(), second.Spec.Run); err != nil || o.Result != event.ResultFailed {
			t.Errorf("%+v, %v", o, err)
		}
		same("is carried on")
		if err := l.operator().Abort(t.Context(), second.Spec.Run); err != nil {
			t.Errorf("the second cannot be given up: %v", err)
		}
		same("is given up")
		if o, err := l.operator().Resume(t.Context(), first.Spec.Run); err != nil || o.Result != event.ResultDone {
			t.Fatalf("the first, after the second was given up: %+v, %v", o, err)
		}
		l.risen("the second was given up")
	}
}
