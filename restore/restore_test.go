// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/run"
)

func TestMain(m *testing.M) { os.Exit(etcdtest.Main(m.Run)) }

// plane is a control plane whose members of etcd run in the test's process, and whose
// other components are words.
type plane struct {
	t       *testing.T
	members []run.Member
	store   *run.Store
	worker  etcd.Worker

	mu    sync.Mutex
	etcds map[string]*embed.Etcd
	words map[string]bool // "machine component" that runs
	log   []string
	left  int // commands until the operator dies
}

// newPlane starts a cluster of n members.
func newPlane(t *testing.T, n int) *plane {
	t.Helper()
	p := &plane{
		t: t, store: run.NewStore(t.TempDir(), clock.RealClock{}), worker: etcdtest.Worker(t),
		etcds: map[string]*embed.Etcd{}, words: map[string]bool{}, left: unlimited,
	}
	for i := range n {
		name := fmt.Sprintf("cp%d", i+1)
		p.members = append(p.members, run.Member{
			Node: name, Method: run.StaticPods, File: "/etc/kubernetes/manifests/etcd.yaml", Name: name, DataDir: filepath.Join(t.TempDir(), "etcd"),
			PeerURLs: []string{etcdtest.Loopback(t)}, ClientURLs: []string{etcdtest.Loopback(t)}, APIServer: true,
		})
	}
	var started sync.WaitGroup
	for _, m := range p.members {
		started.Go(func() { p.boot(m) })
		for _, c := range []string{apiServer, controllerManager, scheduler} {
			p.words[m.Node+" "+c] = true
		}
	}
	started.Wait()
	t.Cleanup(func() {
		for _, e := range p.etcds {
			e.Close()
		}
	})
	return p
}

// boot starts a member on what is in its data directory.
func (p *plane) boot(m run.Member) {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = m.Name, m.DataDir
	cfg.Logger, cfg.ZapLoggerBuilder = "zap", embed.NewZapLoggerBuilder(zap.NewNop())
	parse := func(text string) []url.URL {
		u, err := url.Parse(text)
		if err != nil {
			p.t.Error(err)
		}
		return []url.URL{*u}
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = parse(m.ClientURLs[0]), parse(m.ClientURLs[0])
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = parse(m.PeerURLs[0]), parse(m.PeerURLs[0])
	cfg.InitialCluster, cfg.UnsafeNoFsync = initialCluster(p.members), true
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		p.t.Errorf("start member %s: %v", m.Name, err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.etcds[m.Node] = e
}

// part is the control of one machine of a plane.
type part struct {
	*plane
	member run.Member
}

func (f part) note(format string, args ...any) { f.log = append(f.log, fmt.Sprintf(format, args...)) }

func (f part) stop(_ context.Context, component string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if component == etcdName {
		if e := f.etcds[f.member.Node]; e != nil {
			for word := range f.words {
				if strings.HasSuffix(word, " "+apiServer) {
					f.t.Errorf("etcd of %s is stopped while %s runs", f.member.Node, word)
				}
			}
			e.Close()
			delete(f.etcds, f.member.Node)
			f.note("stop etcd")
		}
		return nil
	}
	delete(f.words, f.member.Node+" "+component)
	return nil
}

func (f part) start(_ context.Context, component string) error {
	f.mu.Lock()
	running := f.etcds[f.member.Node] != nil
	f.mu.Unlock()
	if component == etcdName {
		if !running {
			f.boot(f.member)
		}
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.words[f.member.Node+" "+component] = true
	return nil
}

func (f part) running(context.Context) (map[string]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := map[string]bool{etcdName: f.etcds[f.member.Node] != nil}
	for word := range f.words {
		if node, component, _ := strings.Cut(word, " "); node == f.member.Node {
			found[component] = true
		}
	}
	return found, nil
}

func (f part) end(context.Context, string) error         { return nil }
func (f part) has(context.Context, string) (bool, error) { return true, nil }
func (f part) restartKubelet(context.Context) error      { return nil }
func (f part) kubeletRuns(context.Context) (bool, error) { return false, nil }
func (f part) resumeKubelet(context.Context) error       { return nil }
func (f part) stopKubelet(context.Context) error         { return nil }
func (f part) startKubelet(context.Context) error        { return nil }

func (f part) reach(context.Context, run.Member) (etcd.Access, error) {
	return etcd.Access{Endpoints: f.member.ClientURLs, Patience: patience}, nil
}

// Exec makes a plane's operator mortal.
type counted struct {
	host.Machine
	*plane
}

func (c counted) Exec(ctx context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	c.mu.Lock()
	c.left--
	dead := c.left < 0
	c.mu.Unlock()
	if dead {
		return host.Result{}, errKilled
	}
	return c.Machine.Exec(ctx, argv, opts)
}

func (p *plane) operator() *Operator {
	parks := map[string]string{}
	for _, m := range p.members {
		parks[m.Node] = m.DataDir + ".park"
	}
	return &Operator{
		Store: p.store, Sink: event.Discard, Clock: clock.RealClock{}, Etcd: p.worker,
		Reach:    func(*corev1.Node, string) (host.Machine, error) { return counted{host.Here(nil), p}, nil },
		controls: func(_ host.Machine, m run.Member) control { return part{p, m} },
		parks:    func(m run.Member) string { return parks[m.Node] },
	}
}

func (p *plane) client(m run.Member) *clientv3.Client {
	p.t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: m.ClientURLs, Logger: zap.NewNop()})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p *plane) put(key, value string) {
	p.t.Helper()
	c := p.client(p.members[0])
	defer c.Close()
	if _, err := c.Put(p.t.Context(), key, value); err != nil {
		p.t.Fatal(err)
	}
}

// all is what a member has.
func (p *plane) all(m run.Member) map[string]string {
	p.t.Helper()
	c := p.client(m)
	defer c.Close()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	found, err := c.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithSerializable())
	if err != nil {
		p.t.Fatalf("ask member %s: %v", m.Name, err)
	}
	got := map[string]string{}
	for _, kv := range found.Kvs {
		got[string(kv.Key)] = string(kv.Value)
	}
	return got
}

// spec saves a snapshot and says how it is restored.
func (p *plane) spec() *run.Spec {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "snapshot.db")
	access := etcd.Access{Endpoints: p.members[0].ClientURLs, Patience: time.Minute}
	saved, err := (etcd.Saver{Access: access, Worker: p.worker, Clock: clock.RealClock{}}).Save(p.t.Context(), file)
	if err != nil {
		p.t.Fatal(err)
	}
	spec := &run.Spec{
		Run: run.NewID(time.Now()), Created: time.Now(), Access: &inventory.Access{},
		Restore: &run.Restore{File: file, SHA256: saved.SHA256, Revision: saved.Revision, Token: "again", BumpRevision: DefaultBump, Members: p.members},
	}
	for _, m := range p.members {
		spec.Nodes = append(spec.Nodes, run.Target{Name: m.Node})
	}
	return spec
}

// whole fails if a component does not run.
func (p *plane) whole() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.etcds) != len(p.members) || len(p.words) != 3*len(p.members) {
		p.t.Errorf("%d members of etcd run, and %v", len(p.etcds), p.words)
	}
}

func TestRestoreThreeMembers(t *testing.T) {
	p := newPlane(t, 3)
	p.put("kept", "1")
	spec := p.spec()
	p.put("lost", "2")
	o, err := p.operator().Begin(t.Context(), spec)
	if err != nil || o.Result != event.ResultDone {
		t.Fatalf("%+v, %v", o, err)
	}
	p.whole()
	for _, m := range p.members {
		if got := p.all(m); got["kept"] != "1" || got["lost"] != "" {
			t.Errorf("member %s has %v", m.Name, got)
		}
		if found := contents0(t, m.DataDir); !slices.Contains(found, "member.before-"+spec.Run) {
			t.Errorf("the old data of %s is gone: %q", m.Name, found)
		}
	}
	c := p.client(p.members[1])
	defer c.Close()
	if status, err := c.Status(t.Context(), p.members[1].ClientURLs[0]); err != nil || status.Header.Revision < DefaultBump {
		t.Errorf("the revision is %v, %v", status, err)
	}
	// Nothing is left of what the run needed.
	for _, m := range p.members {
		if found := contents0(t, m.DataDir); slices.ContainsFunc(found, func(n string) bool { return strings.HasPrefix(n, "refit-") }) {
			t.Errorf("%s has %q", m.Name, found)
		}
	}
	if o, err := p.operator().Resume(t.Context(), spec.Run); err != nil || !o.NothingLeft {
		t.Errorf("resumed once more: %+v, %v", o, err)
	}
}

func contents0(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A restore that dies after any number of commands is carried on, or given up: then what
// was there is there.
func TestRestoreInterrupted(t *testing.T) {
	const every = 5 // each takes two starts of etcd
	for n := 0; ; n += every {
		p := newPlane(t, 1)
		p.put("kept", "1")
		spec := p.spec()
		p.put("lost", "2")
		p.left = n
		o, err := p.operator().Begin(t.Context(), spec)
		if err != nil {
			t.Fatalf("after %d commands: %v", n, err)
		}
		p.left = unlimited
		want := map[string]string{"kept": "1"}
		if o.Result != event.ResultDone {
			if !strings.Contains(o.Reason, errKilled.Error()) || !strings.Contains(o.Hint, spec.Run) {
				t.Errorf("after %d commands: %+v", n, o)
			}
			want = p.goOn(n, spec.Run)
		}
		p.whole()
		if got := p.all(p.members[0]); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("after %d commands: %v, want %v", n, got, want)
		}
		if o.Result == event.ResultDone {
			t.Logf("%d commands", n)
			return
		}
	}
}

// goOn resumes the run, or aborts it if that is possible, in turns.
func (p *plane) goOn(n int, id string) (want map[string]string) {
	p.t.Helper()
	if n%2 == 0 {
		err := p.operator().Abort(p.t.Context(), id)
		if err == nil {
			return map[string]string{"kept": "1", "lost": "2"}
		}
		if _, started := errors.AsType[*StartedError](err); !started {
			p.t.Fatalf("aborted after %d commands: %v", n, err)
		}
	}
	if o, err := p.operator().Resume(p.t.Context(), id); err != nil || o.Result != event.ResultDone {
		p.t.Fatalf("resumed after %d commands: %+v, %v", n, o, err)
	}
	return map[string]string{"kept": "1"}
}

// dieIn has a restore of one member die once a machine has been asked for the n-th time.
func (p *plane) dieIn(n int) *run.Spec {
	p.t.Helper()
	p.put("kept", "1")
	spec := p.spec()
	p.put("lost", "2")
	p.left = n
	if o, err := p.operator().Begin(p.t.Context(), spec); err != nil || o.Result == event.ResultDone {
		p.t.Fatalf("it did not die: %+v, %v", o, err)
	}
	p.left = unlimited
	return spec
}

// exchanging is after how many commands the exchange is under way: see the log of
// TestRestoreInterrupted.
const exchanging = 22

// What is being given up is not restored any more: some machines may have the old data.
func TestResumeAfterInterruptedAbort(t *testing.T) {
	p := newPlane(t, 1)
	spec := p.dieIn(exchanging)
	p.left = 1
	if err := p.operator().Abort(t.Context(), spec.Run); err == nil {
		t.Fatal("the abort did not die")
	}
	p.left = unlimited
	o, err := p.operator().Resume(t.Context(), spec.Run)
	if err != nil || o.Result != event.ResultFailed || !strings.Contains(o.Reason, "it is being given up") || !strings.Contains(o.Hint, "refit runs abort") {
		t.Errorf("%+v, %v", o, err)
	}
	if err := p.operator().Abort(t.Context(), spec.Run); err != nil {
		t.Fatal(err)
	}
	p.whole()
	if got := p.all(p.members[0]); got["lost"] != "2" {
		t.Error(got)
	}
}

// Somebody starts everything again before the directories are exchanged: it is stopped
// again, so that nothing runs on what is taken away.
func TestEtcdStartedMeanwhile(t *testing.T) {
	p := newPlane(t, 1)
	spec := p.dieIn(exchanging)
	if found := contents0(t, p.members[0].DataDir); slices.Contains(found, "member.before-"+spec.Run) {
		t.Fatalf("it was exchanged already: %q", found)
	}
	p.boot(p.members[0])
	p.put("lost", "3")
	if o, err := p.operator().Resume(t.Context(), spec.Run); err != nil || o.Result != event.ResultDone {
		t.Fatalf("%+v, %v", o, err)
	}
	p.whole()
	if got := p.all(p.members[0]); fmt.Sprint(got) != "map[kept:1]" {
		t.Error(got)
	}
}

func TestSnapshotReplaced(t *testing.T) {
	p := newPlane(t, 1)
	p.put("kept", "1")
	spec := p.spec()
	p.put("kept", "2")
	if err := os.Rename(p.spec().Restore.File, spec.Restore.File); err != nil {
		t.Fatal(err)
	}
	o, err := p.operator().Begin(t.Context(), spec)
	if err != nil || o.Result != event.ResultFailed || !strings.Contains(o.Reason, "is another snapshot than before") {
		t.Fatalf("%+v, %v", o, err)
	}
	p.whole()
	if got := p.all(p.members[0]); got["kept"] != "2" {
		t.Error(got)
	}
}
