// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/plan"
)

// fakeCluster is a cluster in memory whose pods move to the next node, and are
// Ready there, as soon as they are evicted. Tests get in between with its hooks.
type fakeCluster struct {
	t    *testing.T
	done chan struct{}
	sink event.Sink

	mu      sync.Mutex
	nodes   map[string]*corev1.Node
	objs    []runtime.Object // what is neither node nor pod
	pods    []*corev1.Pod
	subs    map[*fakeChanges]bool
	commits []string // what was done, in order
	serial  int
	names   map[string]bool // of pods that there were

	// onNode, if set, is called before each look at a node; an error is the answer.
	onNode func(name string) error
	// onDrain, if set, replaces the drain of a node.
	onDrain func(ctx context.Context, name string) (Drained, error)
	// onRestart, if set, replaces what a restart of a Deployment brings about.
	onRestart func(Surge) error
	// newPodsReady is whether pods that moved are Ready.
	newPodsReady bool
	// busy is how many requests for a soft taint the API server is too busy for.
	busy int
	// onUntaint, if set, is called before each removal of a soft taint; an error is the answer.
	onUntaint func(ctx context.Context, name string) error
	// onSnapshot, if set, is called before each picture of the whole cluster.
	onSnapshot func()
	err        error
}

func newFakeCluster(t *testing.T, nodes ...string) *fakeCluster {
	c := &fakeCluster{
		t: t, done: make(chan struct{}), sink: event.Discard, nodes: map[string]*corev1.Node{},
		subs: map[*fakeChanges]bool{}, newPodsReady: true, names: map[string]bool{},
	}
	for _, n := range nodes {
		c.nodes[n] = readyNode(n)
	}
	return c
}

type fakeChanges struct {
	c     *fakeCluster
	ready chan struct{}
}

func (f *fakeChanges) Ready() <-chan struct{} { return f.ready }

// Take says of everything that it has changed, also of what is gone.
func (f *fakeChanges) Take() []cluster.Change {
	s := f.c.look()
	var changes []cluster.Change
	for _, name := range []string{"a", "b", "c", "d"} {
		changes = append(changes, cluster.Change{Kind: cluster.KindNode, Name: name, Verb: cluster.Updated})
	}
	for _, b := range s.Budgets {
		changes = append(changes, cluster.Change{Kind: cluster.KindBudget, Namespace: b.Namespace, Name: b.Name, UID: b.UID, Verb: cluster.Updated})
	}
	f.c.mu.Lock()
	changes = append(changes, cluster.Change{Kind: cluster.KindPod, Namespace: "kube-system", Name: "etcd-a", Verb: cluster.Updated})
	for name := range f.c.names {
		changes = append(changes, cluster.Change{Kind: cluster.KindPod, Namespace: "shop", Name: name, Verb: cluster.Updated})
	}
	f.c.mu.Unlock()
	for _, w := range s.Workloads {
		changes = append(changes, cluster.Change{Kind: cluster.KindWorkload, Namespace: w.Namespace, Name: w.Name, UID: w.UID, Verb: cluster.Updated})
	}
	return changes
}

func (f *fakeChanges) Close() {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	delete(f.c.subs, f)
}

func (c *fakeCluster) Subscribe() Changes {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &fakeChanges{c, make(chan struct{}, 1)}
	c.subs[s] = true
	return s
}

// change changes the cluster and tells whoever listens.
func (c *fakeCluster) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	for s := range c.subs {
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
}

func (c *fakeCluster) Snapshot() *cluster.Snapshot {
	if c.onSnapshot != nil {
		c.onSnapshot()
	}
	return c.look()
}

func (c *fakeCluster) look() *cluster.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	objs := slices.Clone(c.objs)
	for _, n := range c.nodes {
		objs = append(objs, n)
	}
	for _, p := range c.pods {
		objs = append(objs, p)
		c.names[p.Name] = true
	}
	s, err := cluster.FromObjects(testTime, objs...)
	if err != nil {
		c.t.Error(err)
	}
	return s
}

func (c *fakeCluster) Caches() plan.Source { return fakeCaches{c} }

// fakeCaches looks things up in a fakeCluster.
type fakeCaches struct{ *fakeCluster }

func (c fakeCaches) Node(name string) *corev1.Node { return c.Seen(name) }

func (c fakeCaches) Tied(namespace, name string) *cluster.Pod { return c.look().Pod(namespace, name) }

func (c fakeCaches) Budget(namespace, name string) *policyv1.PodDisruptionBudget {
	for _, b := range c.look().Budgets {
		if b.Namespace == namespace && b.Name == name {
			return b.PodDisruptionBudget
		}
	}
	return nil
}

func (c fakeCaches) Controller(uid types.UID) *cluster.Workload {
	if w := c.Workload(uid); w != nil && w.Found {
		return w
	}
	return nil
}

func (c fakeCaches) Volume(string) *corev1.PersistentVolume { return nil }

func (c *fakeCluster) Seen(name string) *corev1.Node {
	if node := c.Around(name); node != nil {
		return node.Node
	}
	return nil
}

func (c *fakeCluster) Around(name string) *cluster.Node { return c.look().Node(name) }

func (c *fakeCluster) Workload(uid types.UID) *cluster.Workload {
	for _, w := range c.look().Workloads {
		if w.UID == uid {
			return w
		}
	}
	return nil
}

func (c *fakeCluster) Concerned(change cluster.Change) []types.UID { return []types.UID{change.UID} }

func (c *fakeCluster) Done() <-chan struct{} { return c.done }
func (c *fakeCluster) Err() error            { return c.err }

func (c *fakeCluster) Node(_ context.Context, name string) (*corev1.Node, error) {
	if c.onNode != nil {
		if err := c.onNode(name); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[name].DeepCopy(), nil
}

func (c *fakeCluster) did(format string, args ...any) {
	c.commits = append(c.commits, fmt.Sprintf(format, args...))
}

func (c *fakeCluster) log() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.commits)
}

func (c *fakeCluster) Cordon(_ context.Context, node *corev1.Node, run string) (changed bool, err error) {
	c.change(func() {
		n := c.nodes[node.Name]
		switch {
		case n == nil:
			err = drain.ErrNodeDeleted
			return
		case n.UID != node.UID:
			err = drain.ErrNodeReplaced
			return
		}
		if _, marked := cluster.MarkOf(n); marked && n.Spec.Unschedulable {
			return
		}
		n = n.DeepCopy()
		changed = !n.Spec.Unschedulable
		text, _ := json.Marshal(cluster.Mark{Run: run, WasUnschedulable: n.Spec.Unschedulable})
		n.Annotations = map[string]string{cluster.CordonAnnotation: string(text)}
		n.Spec.Unschedulable = true
		c.nodes[node.Name] = n
		c.did("cordon %s", n.Name)
	})
	return changed, err
}

func (c *fakeCluster) Uncordon(_ context.Context, name, run string) (changed bool, err error) {
	c.change(func() {
		n := c.nodes[name]
		if n == nil {
			return
		}
		mark, marked := cluster.MarkOf(n)
		if !marked || mark.Run != run {
			return
		}
		n = n.DeepCopy()
		n.Annotations = nil
		if cluster.TaintedBy(n) == run {
			n.Spec.Taints = nil
		}
		changed = !mark.WasUnschedulable
		n.Spec.Unschedulable = mark.WasUnschedulable
		c.nodes[name] = n
		c.did("uncordon %s", name)
	})
	return changed, nil
}

func (c *fakeCluster) Taint(_ context.Context, node *corev1.Node, run string, wanted func() bool) (err error) {
	still := wanted() // not below: it takes a lock whose holder may be asking the fake
	c.change(func() {
		n := c.nodes[node.Name]
		switch {
		case c.busy > 0:
			c.busy--
			err = apierrors.NewTooManyRequests("busy", 1)
		case n == nil:
			err = drain.ErrNodeDeleted
		case n.UID != node.UID:
			err = drain.ErrNodeReplaced
		case still && !n.Spec.Unschedulable && cluster.TaintedBy(n) == "":
			n = n.DeepCopy()
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: cluster.TaintKey, Value: run, Effect: corev1.TaintEffectPreferNoSchedule})
			c.nodes[node.Name] = n
		}
	})
	return err
}

func (c *fakeCluster) Untaint(ctx context.Context, name, run string) error {
	if c.onUntaint != nil {
		if err := c.onUntaint(ctx, name); err != nil {
			return err
		}
	}
	c.change(func() {
		if n := c.nodes[name]; n != nil && cluster.TaintedBy(n) == run {
			n = n.DeepCopy()
			n.Spec.Taints = nil
			c.nodes[name] = n
		}
	})
	return nil
}

func (c *fakeCluster) Drain(ctx context.Context, name string) (Drained, error) {
	if c.onDrain != nil {
		return c.onDrain(ctx, name)
	}
	return c.drain(name), nil
}

func (c *fakeCluster) drain(name string) (d Drained) {
	c.change(func() {
		var stay []*corev1.Pod
		for _, p := range c.pods {
			if p.Spec.NodeName != name || len(p.OwnerReferences) == 0 { // a static one stays
				stay = append(stay, p)
				continue
			}
			c.sink.Emit(event.Event{Type: event.PodEvicted, Node: name, Pod: &event.Pod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)}})
			d.Evicted, d.Gone = d.Evicted+1, d.Gone+1
			stay = append(stay, c.newPod(p.OwnerReferences[0].Name, c.elsewhere(name), c.newPodsReady))
		}
		c.pods = stay
		c.did("drain %s", name)
	})
	return d
}

func (c *fakeCluster) elsewhere(name string) string {
	for _, n := range []string{"a", "b", "c", "d"} {
		if node := c.nodes[n]; n != name && node != nil && !node.Spec.Unschedulable {
			return n
		}
	}
	return ""
}

func (c *fakeCluster) newPod(owner, node string, ready bool) *corev1.Pod {
	c.serial++
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: fmt.Sprintf("%s-%d", owner, c.serial),
			Labels:          map[string]string{"of": owner},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: owner, Controller: ptr.To(true)}},
		},
		Spec:   corev1.PodSpec{NodeName: node, RestartPolicy: corev1.RestartPolicyAlways},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
}

// workload adds a ReplicaSet with a pod on each of nodes.
func (c *fakeCluster) workload(name string, nodes ...string) {
	c.objs = append(c.objs, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(len(nodes)))},
	})
	for _, n := range nodes {
		c.pods = append(c.pods, c.newPod(name, n, true))
	}
}

func (c *fakeCluster) Leaving(_ context.Context, name string) (s drain.Selection, err error) {
	if node := c.Around(name); node != nil {
		for _, p := range node.Pods {
			if len(p.OwnerReferences) > 0 {
				s.Leave = append(s.Leave, p.Pod)
			}
		}
	}
	return s, nil
}

// singleton adds a Deployment of one replica under a budget that never lets it
// go, with its pod on a node.
func (c *fakeCluster) singleton(name, node string) {
	c.objs = append(c.objs,
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}},
		&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name + "-rs",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: name, Controller: ptr.To(true)}},
		}},
		&policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec: policyv1.PodDisruptionBudgetSpec{
				MinAvailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"of": name + "-rs"}},
			},
		})
	c.pods = append(c.pods, c.newPod(name+"-rs", node, true))
}

// deployment changes a Deployment.
func (c *fakeCluster) deployment(name string, f func(*appsv1.Deployment)) {
	c.change(func() {
		for i, o := range c.objs {
			if d, ok := o.(*appsv1.Deployment); ok && d.Name == name {
				d = d.DeepCopy()
				f(d)
				c.objs[i] = d
			}
		}
	})
}

// Restart moves the pod of a singleton at once, or does what onRestart does.
func (c *fakeCluster) Restart(_ context.Context, s Surge) error {
	done := false
	c.deployment(s.Name, func(d *appsv1.Deployment) {
		if done = d.Spec.Template.Annotations[cluster.RestartedAtAnnotation] == s.RestartedAt; !done {
			d.Spec.Template.Annotations = map[string]string{cluster.RestartedAtAnnotation: s.RestartedAt}
			c.did("restart %s", s.Name)
		}
	})
	switch {
	case done:
		return nil
	case c.onRestart != nil:
		return c.onRestart(s)
	}
	c.replace(s.Name)
	return nil
}

// replace moves the pod of a singleton to another node.
func (c *fakeCluster) replace(name string) {
	c.change(func() {
		for i, p := range c.pods {
			if p.OwnerReferences[0].Name == name+"-rs" {
				c.pods[i] = c.newPod(name+"-rs", c.elsewhere(p.Spec.NodeName), c.newPodsReady)
			}
		}
	})
}

func (c *fakeCluster) Note(_ context.Context, node *corev1.Node, reason, _ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.did("note %s %s", node.Name, reason)
}

// fakeHost is a machine of a fakeCluster.
type fakeHost struct {
	c    *fakeCluster
	node string
	run  func(ctx context.Context, node string) error
}

func (h fakeHost) Run(ctx context.Context, command string, out host.Output) error {
	h.c.change(func() { h.c.did("run %s", h.node) })
	out(command)
	if h.run != nil {
		return h.run(ctx, h.node)
	}
	return nil
}

func (h fakeHost) Reboot(_ context.Context, id string) error {
	h.c.change(func() {
		n := h.c.nodes[h.node].DeepCopy()
		if n.Status.NodeInfo.BootID != id {
			h.c.did("reboot %s", h.node)
		}
		n.Status.NodeInfo.BootID = id
		h.c.nodes[h.node] = n
	})
	return nil
}

// fakeLock is held until it is taken away.
type fakeLock struct {
	lost chan struct{}
	err  error

	mu sync.Mutex
	// lasted is for how long renewals were made good, each time; so many of them fail.
	lasted []time.Duration
	away   int
}

func (l *fakeLock) gone() <-chan struct{}       { return l.lost }
func (l *fakeLock) check(context.Context) error { return l.err }

func (l *fakeLock) lasting(_ context.Context, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lasted = append(l.lasted, d)
	if l.away > 0 {
		l.away--
		return apierrors.NewServiceUnavailable("away")
	}
	return l.err
}

// memoryLog is a journal in memory.
type memoryLog struct {
	mu      sync.Mutex
	records []Record
	// fail, if set, says which records cannot be written.
	fail func(Record) error
}

func (l *memoryLog) Append(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		if err := l.fail(r); err != nil {
			return &JournalError{Path: "memory", Err: err}
		}
	}
	r.Seq = len(l.records) + 1
	l.records = append(l.records, r)
	return nil
}

// trial is an engine with everything around it.
type trial struct {
	*engine
	cluster *fakeCluster
	log     *memoryLog
	lock    *fakeLock

	mu     sync.Mutex
	events []event.Event
	more   chan struct{} // closed when there is another event
}

func newTrial(t *testing.T, c *fakeCluster, spec *Spec) *trial {
	t.Helper()
	tr := &trial{cluster: c, more: make(chan struct{}), lock: &fakeLock{lost: make(chan struct{})}}
	tr.log = &memoryLog{records: []Record{{Seq: 1, Kind: KindCreated, Spec: spec}}}
	tr.engine = tr.next(t, UnknownStop)
	return tr
}

// next is the engine of the next process.
func (tr *trial) next(t *testing.T, unknown UnknownCommand) *engine {
	t.Helper()
	spec := tr.log.records[0].Spec
	if err := spec.validate(); err != nil {
		t.Fatal(err)
	}
	e := &engine{
		spec: spec, status: statusOf(tr.log.records), log: tr.log, cluster: tr.cluster, lock: tr.lock,
		clock: clock.RealClock{}, sink: event.SinkFunc(tr.emit), unknown: unknown, tally: newTally(),
		work: maintenance{hosts: func(node *corev1.Node) host.Host { return fakeHost{c: tr.cluster, node: node.Name} }},
	}
	tr.cluster.sink = e.tally
	e.stop = func(error) {}
	if err := e.record(Record{Kind: KindOpened}); err != nil {
		t.Fatal(err)
	}
	return e
}

func (tr *trial) emit(e event.Event) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.events = append(tr.events, e)
	close(tr.more)
	tr.more = make(chan struct{})
}

func (tr *trial) hosted(run func(ctx context.Context, node string) error) {
	tr.work = maintenance{hosts: func(node *corev1.Node) host.Host { return fakeHost{c: tr.cluster, node: node.Name, run: run} }}
}

// last returns the last event, which has to be the summary.
func (tr *trial) last(t *testing.T) event.Event {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.events) == 0 || tr.events[len(tr.events)-1].Type != event.Summary {
		t.Fatalf("the last event is no summary: %+v", tr.events)
	}
	return tr.events[len(tr.events)-1]
}

func (tr *trial) warned(text string) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.ContainsFunc(tr.events, func(e event.Event) bool {
		return e.Type == event.Warning && contains(e.Message, text)
	})
}

// awaitWarning waits for a warning with that text in it.
func (tr *trial) awaitWarning(ctx context.Context, text string) {
	for {
		tr.mu.Lock()
		more := tr.more
		tr.mu.Unlock()
		if tr.warned(text) {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// awaitEvent waits for an event.
func (tr *trial) awaitEvent(ctx context.Context, is func(event.Event) bool) {
	for {
		tr.mu.Lock()
		more, found := tr.more, slices.ContainsFunc(tr.events, is)
		tr.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// deadline is a guard against hanging.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the test hangs"))
	t.Cleanup(cancel)
	return ctx
}
