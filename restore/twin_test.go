// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// hang guards against one.
const hang = 5 * time.Minute

// ledger is what writers were told: the value of each object when its write was
// acknowledged. What was not acknowledged, nobody knows.
type ledger struct {
	mu    sync.Mutex
	acked map[string]string
	begun map[string]bool
}

// note is called before a write, and the function that it returns when that is acknowledged.
func (l *ledger) note(name, value string) (acked func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun[name] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.acked[name] = value
	}
}

// look copies it.
func (l *ledger) look() (acked map[string]string, begun map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.acked), maps.Clone(l.begun)
}

// write creates objects, and raises the number in one, until ctx ends.
func (l *ledger) write(ctx context.Context, client kubernetes.Interface, writer int) {
	objects := client.CoreV1().ConfigMaps("default")
	number := fmt.Sprintf("number-%d", writer)
	for i := 0; ctx.Err() == nil; i++ {
		name, value := fmt.Sprintf("w%d-%d", writer, i), fmt.Sprint(i)
		acked := l.note(name, value)
		if _, err := objects.Create(ctx, configMap(name, value), metav1.CreateOptions{}); err != nil {
			continue
		}
		acked()
		acked = l.note(number, value)
		var err error
		if i == 0 {
			_, err = objects.Create(ctx, configMap(number, value), metav1.CreateOptions{})
		} else {
			_, err = objects.Update(ctx, configMap(number, value), metav1.UpdateOptions{})
		}
		if err == nil {
			acked()
		}
	}
}

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"value": value}}
}

// listed are the config maps that the API server has, as resource versions and values.
func listed(t *testing.T, client kubernetes.Interface) (versions, values map[string]string) {
	t.Helper()
	list, err := client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	versions, values = map[string]string{}, map[string]string{}
	for _, c := range list.Items {
		versions[c.Name], values[c.Name] = c.ResourceVersion, c.Data["value"]
	}
	return versions, values
}

// embeddedPlane is a twin with what restores it.
type embeddedPlane struct {
	*twin.Twin
	t      *testing.T
	opts   twin.Options
	client *kubernetes.Clientset
	store  *run.Store
	worker etcd.Worker
}

func newEmbeddedPlane(t *testing.T) *embeddedPlane {
	t.Helper()
	opts := twin.Options{Nodes: 1, StateDir: t.TempDir(), Tied: true}
	tw := twintest.Start(t, opts)
	return &embeddedPlane{
		Twin: tw, t: t, opts: opts, client: twintest.Client(t, tw), worker: etcdtest.Worker(t),
		store: run.NewStore(filepath.Join(opts.StateDir, "runs"), clock.RealClock{}),
	}
}

func (p *embeddedPlane) operator(reach func(*corev1.Node, string) (host.Machine, error)) *Operator {
	return &Operator{Store: p.store, Sink: event.Discard, Clock: clock.RealClock{}, Etcd: p.worker, Reach: reach, Twin: p.Twin}
}

func (p *embeddedPlane) save() string {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "snapshot.db")
	e, err := p.Etcd()
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := (etcd.Saver{Access: e.Access, Worker: p.worker, Clock: clock.RealClock{}}).Save(p.t.Context(), file); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// prepare is what comes before a restore.
func (p *embeddedPlane) prepare(file string) *run.Spec {
	p.t.Helper()
	status, err := p.worker.Status(p.t.Context(), file)
	if err != nil {
		p.t.Fatal(err)
	}
	prepared, err := p.operator(Here).Prepare(p.t.Context(), Request{
		File: file, Snapshot: status, Nodes: []string{p.Name()}, ClusterUID: status.ClusterUID, Server: "https://twin", Access: inventory.Access{},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return prepared.Spec
}

// Writers write while a snapshot is saved: each write that was acknowledged before is there
// after the restore, with its value, and none that was begun afterwards. An informer that
// watches all the time ends with what the API server has.
func TestLedger(t *testing.T) {
	p := newEmbeddedPlane(t)
	factory := informers.NewSharedInformerFactoryWithOptions(p.client, 0, informers.WithNamespace("default"))
	informer := factory.Core().V1().ConfigMaps().Informer()
	watching, unwatch := context.WithCancel(t.Context())
	defer factory.Shutdown()
	defer unwatch()
	factory.Start(watching.Done())
	if !cache.WaitForCacheSync(watching.Done(), informer.HasSynced) {
		t.Fatal("the informer does not start")
	}

	l := &ledger{acked: map[string]string{}, begun: map[string]bool{}}
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() { l.write(writing, p.client, i) })
	}
	writes := func(n int) (acked map[string]string, begun map[string]bool) {
		p.until(fmt.Sprintf("%d writes are acknowledged", n), func() bool {
			acked, begun = l.look()
			return len(acked) >= n
		})
		return acked, begun
	}
	before, _ := writes(200)
	file := p.save()
	during, begun := l.look()
	writes(len(during) + 100)
	stop()
	writers.Wait()

	if o, err := p.operator(Here).Begin(t.Context(), p.prepare(file)); err != nil || o.Result != event.ResultDone {
		t.Fatalf("%+v, %v", o, err)
	}
	versions, values := listed(t, p.client)
	for name, value := range before {
		got, there := values[name]
		if strings.HasPrefix(name, "number-") { // it was raised while the snapshot was saved
			least, _ := strconv.Atoi(value)
			if n, err := strconv.Atoi(got); err != nil || n < least {
				t.Errorf("%s is %q, and %s was acknowledged before the snapshot was saved", name, got, value)
			}
		} else if !there || got != value {
			t.Errorf("%s is %q, and %q was acknowledged before the snapshot was saved", name, got, value)
		}
	}
	for name := range values {
		if name != "kube-root-ca.crt" && !begun[name] {
			t.Errorf("%s is there, and was written after the snapshot was saved", name)
		}
	}
	p.until("the informer has what the API server has", func() bool {
		seen := map[string]string{}
		for _, o := range informer.GetStore().List() {
			c := o.(*corev1.ConfigMap)
			seen[c.Name] = c.ResourceVersion
		}
		return maps.Equal(seen, versions)
	})
	// It follows again, too.
	if _, err := p.client.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("afterwards", "1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.until("the informer sees what is new", func() bool {
		_, there, err := informer.GetStore().GetByKey("default/afterwards")
		return there && err == nil
	})
}

// until waits for a condition.
func (p *embeddedPlane) until(what string, is func() bool) {
	p.t.Helper()
	deadline := time.NewTimer(hang)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			p.t.Fatalf("in vain: %s", what)
		}
	}
}

// A restore of a twin that died is carried on or given up, and until then nobody starts
// the twin on what there is of its data.
func TestTwinInterrupted(t *testing.T) {
	p := newEmbeddedPlane(t)
	create := func(name string) {
		if _, err := p.client.CoreV1().ConfigMaps("default").Create(t.Context(), configMap(name, "1"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("kept")
	file := p.save()
	halted := 0
	for _, c := range []struct {
		n     int // commands until its operator dies: while it is laid, stopped, and exchanged
		abort bool
	}{{4, true}, {14, true}, {18, false}} {
		n, abort := c.n, c.abort
		lost := fmt.Sprintf("lost-%d", n)
		create(lost)
		spec := p.prepare(file)
		reach := func(*corev1.Node, string) (host.Machine, error) { return &mortal{Machine: host.Own(nil), left: n}, nil }
		if o, err := p.operator(reach).Begin(t.Context(), spec); err != nil || !strings.Contains(o.Reason, errKilled.Error()) {
			t.Fatalf("it did not die after %d commands: %+v, %v", n, o, err)
		}
		if _, err := p.client.Discovery().ServerVersion(); err != nil { // else nothing was stopped
			halted++
			if _, err := twin.Up(t.Context(), p.opts, nil); err == nil || !strings.Contains(err.Error(), spec.Run) || !strings.Contains(hint.Of(err), "resume") {
				t.Errorf("it was brought up in the middle of a restore: %v", err)
			}
		}
		want := []string{"kept", "kube-root-ca.crt"}
		if abort {
			if err := p.operator(Here).Abort(t.Context(), spec.Run); err != nil {
				t.Fatal(err)
			}
			want = append(want, lost)
		} else if o, err := p.operator(Here).Resume(t.Context(), spec.Run); err != nil || o.Result != event.ResultDone {
			t.Fatalf("%+v, %v", o, err)
		}
		_, values := listed(t, p.client)
		for _, name := range want {
			if _, there := values[name]; !there {
				t.Errorf("after %d commands, aborted %v: %s is missing from %v", n, abort, name, values)
			}
		}
		if _, there := values[lost]; there != abort {
			t.Errorf("after %d commands, aborted %v: %s is there: %v", n, abort, lost, there)
		}
		if _, err := twin.Up(t.Context(), p.opts, nil); err != nil {
			t.Errorf("it cannot be brought up any more: %v", err)
		}
	}
	if halted != 2 {
		t.Errorf("it was halted %d times, want 2", halted)
	}
}
