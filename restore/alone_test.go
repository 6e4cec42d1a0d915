// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/run"
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

// TestAloneWhenResumed: a member that is back by the time the machine is touched, or etcd is about to be exchanged or started, stops a
// run that can be given up then; so does who cannot be asked.
func TestAloneWhenResumed(t *testing.T) {
	for i, words := range []string{"putting the files", "exchanging the data", "starting etcd"} {
		for says, answer := range map[string]func() (net.Conn, error){
			"cp2 answers": func() (net.Conn, error) {
				here, there := net.Pipe()
				t.Cleanup(func() { there.Close() })
				return here, nil
			},
			"does not forward": func() (net.Conn, error) { return nil, host.ErrNoForwarding },
		} {
			l := newLost(t)
			before := l.tree()
			asked := 0
			l.machine.dial = func(context.Context, string) (net.Conn, error) {
				if asked++; asked > i+1 { // the first time it was looked at
					return answer()
				}
				return nil, syscall.ECONNREFUSED
			}
			l.request.Snapshot.Members = append(l.request.Snapshot.Members, etcd.Member{Name: "cp2", ClientURLs: []string{"https://10.0.0.8:2379"}})
			p, err := l.operator().PrepareBootstrap(t.Context(), l.request)
			if err != nil {
				t.Fatal(err)
			}
			stopped := func(when string, o run.Outcome, err error) {
				if err != nil || o.Result != event.ResultFailed || !strings.Contains(o.Reason, words) || !strings.Contains(o.Reason, says) || !strings.Contains(o.Hint, "refit runs abort "+p.Spec.Run) {
					t.Fatalf("%s, %s: %+v, %v", words, when, o, err)
				}
			}
			o, err := l.operator().Begin(t.Context(), p.Spec)
			stopped("begun", o, err)
			o, err = l.operator().Resume(t.Context(), p.Spec.Run)
			stopped("resumed", o, err)
			if err := l.operator().Abort(t.Context(), p.Spec.Run); err != nil {
				t.Fatalf("%s, %s: %v", words, says, err)
			}
			if there := l.tree(); !maps.Equal(there, before) || !l.kubelet {
				t.Errorf("%s, %s, and given up: there is %v, and was %v", words, says, there, before)
			}
		}
	}
}

// far is a machine where a login takes longer than somebody has to answer, and some connections are lost.
type far struct {
	host.Machine
	up   bool
	lost int // so many, each after a command
	gone bool
	dial func(*far) (net.Conn, error) // nil, nil: nothing comes back
}

func (f *far) login(ctx context.Context) error {
	if f.up {
		return nil
	}
	select {
	case <-time.After(4 * answerLimit):
		f.up = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *far) Exec(ctx context.Context, _ []string, _ host.ExecOptions) (host.Result, error) {
	if f.gone {
		return host.Result{}, errKilled
	}
	if err := f.login(ctx); err != nil {
		return host.Result{}, err
	}
	if f.lost > 0 {
		f.lost, f.up = f.lost-1, false
	}
	return host.Result{}, nil
}

func (f *far) Dial(ctx context.Context, _ string) (net.Conn, error) {
	if err := f.login(ctx); err != nil {
		return nil, err
	}
	conn, err := f.dial(f)
	if conn == nil && err == nil {
		<-ctx.Done()
		err = context.Cause(ctx)
	}
	return conn, err
}

// TestSilence: that nothing comes back from an address says nothing while nothing comes back from the machine either.
func TestSilence(t *testing.T) {
	silent := func(*far) (net.Conn, error) { return nil, nil }
	taken := func(*far) (net.Conn, error) {
		here, _ := net.Pipe()
		return here, nil
	}
	closed := func(*far) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			_, _ = there.Read(make([]byte, 1<<16)) // who would speak first
			_ = there.Close()
		}()
		return here, nil
	}
	for name, c := range map[string]struct {
		far     far
		talk    bool
		answers bool
		fails   bool
	}{
		"somebody, after a slow login":           {far: far{dial: taken}, answers: true},
		"somebody, after the connection is lost": {far: far{dial: taken, lost: 1}, answers: true},
		"nobody":                                 {far: far{dial: silent}},
		"the machine is away then": {far: far{dial: func(f *far) (net.Conn, error) {
			f.gone = true
			return nil, nil
		}}, fails: true},
		"the connection ends in the middle": {talk: true, answers: true, far: far{dial: func(f *far) (net.Conn, error) {
			f.dial = taken
			return closed(f)
		}}},
		"a balancer alone": {talk: true, far: far{dial: closed}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answers, err := (&machine{files: files{&c.far}}).answers(t.Context(), "10.0.0.8:2379", c.talk)
				if answers != c.answers || (err != nil) != c.fails {
					t.Errorf("somebody answers: %t, %v", answers, err)
				}
			})
		})
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
