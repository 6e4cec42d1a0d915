// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/release"
	"refit.dev/refit/skew"
	"refit.dev/refit/units"
	"refit.dev/refit/units/unitstest"
)

// services are machines whose components are services of systemd. What was done to them
// outlives refit. After the command number kill - the first is 1 - refit is dead: nothing more
// is heard of anything.
type services struct {
	all     map[string]*unitstest.Machine
	release string
	// shows is what systemctl show says instead of some services, by machine and service.
	shows map[string]map[string]string
	sums  map[string]string

	mu       sync.Mutex
	commands int
	kill     int
	die      func()
	started  map[string]int // how often each binary was, by machine and text
}

// unitsSite is a control plane a and workers whose machines are services. special says what is
// special with new binaries, by component.
func unitsSite(t *testing.T, special map[string][]string, workers ...string) (*trial, *services) {
	t.Helper()
	nodes := append([]string{"a"}, workers...)
	c := newFakeCluster(t, nodes...)
	s := &services{all: map[string]*unitstest.Machine{}, release: t.TempDir(), sums: map[string]string{}, started: map[string]int{}}
	for _, component := range units.All() {
		s.offer(t, component, unitstest.Binary(component, newVersion, special[component]...))
	}
	for name, n := range c.nodes {
		n.Status.NodeInfo.KubeletVersion = oldVersion
		components := units.Node()
		if name == "a" {
			components = units.All()
		}
		m := unitstest.New(oldVersion, components...)
		m.Boot = n.Status.NodeInfo.BootID
		m.Before, m.After = s.before, s.after
		m.Started = func(component, binary string) {
			s.mu.Lock()
			s.started[name+" "+binary]++
			s.mu.Unlock()
			if words := strings.Fields(binary); component == units.Kubelet && len(words) > 1 {
				c.change(func() {
					n := c.nodes[name].DeepCopy()
					n.Status.NodeInfo.KubeletVersion = words[1]
					c.nodes[name] = n
				})
			}
		}
		s.all[name] = m
	}
	s.all["a"].Flags(units.Etcd, "--listen-metrics-urls=http://127.0.0.1:2381")
	spec := upgradeSpec(nodes...)
	spec.Upgrade.Stages[0].Role, spec.Upgrade.Stages[0].Components = OtherControlPlane, units.All()
	if len(workers) > 0 {
		spec.Upgrade.Stages[1].Components = units.Node()
	}
	spec.Upgrade.Units = &Binaries{Source: s.release, Sums: s.sums}
	spec.Upgrade.Units.Patience.Duration = time.Minute
	if err := spec.validate(); err != nil {
		t.Fatal(err)
	}
	tr := newTrial(t, c, spec)
	tr.work = s.upgrading()
	return tr, s
}

// offer puts a binary into the release.
func (s *services) offer(t *testing.T, component, text string) {
	t.Helper()
	v, err := skew.Parse(newVersion)
	if err != nil {
		t.Fatal(err)
	}
	file := release.File{Version: v, Arch: "amd64", Name: component}
	path := filepath.Join(s.release, file.Path())
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644), os.WriteFile(path+".sha256", []byte(unitstest.Sum(text)), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.sums[file.Path()] = unitstest.Sum(text)
}

func (s *services) upgrading() upgrading {
	return upgrading{machines: &UnitFleet{
		Reach: func(node *corev1.Node, _ string) (host.Machine, error) {
			if says := s.shows[node.Name]; says != nil {
				return shown{s.all[node.Name], says}, nil
			}
			return s.all[node.Name], nil
		},
		Source: func() (*release.Source, error) { return release.Open(s.release, s.release, nil) },
		Clock:  clock.RealClock{},
	}}
}

// starts is how many processes were started.
func (s *services) starts() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, times := range s.started {
		n += times
	}
	return n
}

// shown is a machine whose systemd says something else of some services.
type shown struct {
	*unitstest.Machine
	says map[string]string
}

func (m shown) Exec(ctx context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	if says, found := m.says[argv[len(argv)-1]]; found && argv[0] == "systemctl" && argv[1] == "show" {
		return host.Result{Stdout: []byte(says)}, nil
	}
	return m.Machine.Exec(ctx, argv, opts)
}

func (s *services) before([]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.commands++; s.kill > 0 && s.commands > s.kill {
		return fmt.Errorf("%w: %w", host.ErrNotStarted, errDead)
	}
	return nil
}

func (s *services) after([]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kill > 0 && s.commands >= s.kill {
		s.die() // the command was run, and nobody hears of it
		return errDead
	}
	return nil
}

// upgraded fails if not all is as an upgrade leaves it: each new binary in its place, started
// once, the old one beside it, and nothing else.
func (s *services) upgraded(t *testing.T, c *fakeCluster) {
	t.Helper()
	for name, m := range s.all {
		var files []string
		for _, component := range units.All() {
			path, binary := "/usr/local/bin/"+component, unitstest.Binary(component, newVersion)
			if m.Text(path) == "" {
				continue // a worker
			}
			files = append(files, path, path+".before-"+newVersion)
			if m.Text(path) != binary || m.Running(component) != binary || m.Text(path+".before-"+newVersion) != unitstest.Binary(component, oldVersion) {
				t.Errorf("%s: %q in its place, %q runs, kept %q", name, m.Text(path), m.Running(component), m.Text(path+".before-"+newVersion))
			}
			if n := s.started[name+" "+binary]; n != 1 {
				t.Errorf("%s: %s was started %d times", name, binary, n)
			}
		}
		if slices.Sort(files); !slices.Equal(m.Files(), files) {
			t.Errorf("%s has the files %q", name, m.Files())
		}
		if n, _ := c.Node(t.Context(), name); n.Spec.Unschedulable || n.Status.NodeInfo.KubeletVersion != newVersion {
			t.Errorf("%s: unschedulable %t, kubelet %s", name, n.Spec.Unschedulable, n.Status.NodeInfo.KubeletVersion)
		}
	}
}

// A UnitFleet brings machines to a version: components in their order, one after the other.
func TestUnitFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, s := unitsSite(t, nil, "b", "c")
		var order []string
		for name, m := range s.all {
			started := m.Started
			m.Started = func(component, binary string) {
				order = append(order, name+" "+component)
				started(component, binary)
			}
		}
		if o := tr.run(t.Context()); o.Result != event.ResultDone {
			t.Fatalf("%+v; %+v", o, o.Status.Nodes["a"])
		}
		s.upgraded(t, tr.cluster)
		want := []string{"a etcd", "a kube-apiserver", "a kube-controller-manager", "a kube-scheduler", "a kubelet", "a kube-proxy", "b kubelet", "b kube-proxy", "c kubelet", "c kube-proxy"}
		if !slices.Equal(order, want) {
			t.Errorf("started in the order %q", order)
		}
	})
}

// A binary that does not get well is taken back, the old one runs, and nothing new begins.
func TestUnitFleetRollsBack(t *testing.T) {
	for _, component := range []string{units.Kubelet, units.APIServer} {
		t.Run(component, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, s := unitsSite(t, map[string][]string{component: {"dies"}}, "b", "c")
				o := tr.run(t.Context())
				n := o.Status.Nodes["a"]
				if o.Result == event.ResultDone || n.Standing != Failed || !contains(n.Reason, "was rolled back to the binary of before, which runs and is well") ||
					!contains(n.Hint, "journalctl -u "+component+".service") || !contains(n.Hint, "--on-unknown-command=rerun") {
					t.Fatalf("%+v; %+v", o, n)
				}
				if has := s.all["a"].Running(component); has != unitstest.Binary(component, oldVersion) {
					t.Errorf("%q runs", has)
				}
				for _, name := range []string{"b", "c"} {
					if s.all[name].Running(units.Kubelet) != unitstest.Binary(units.Kubelet, oldVersion) || o.Status.Nodes[name].Standing == Begun {
						t.Errorf("%s was touched: %+v", name, o.Status.Nodes[name])
					}
				}
				// Who resumes without a word begins nothing anew.
				before := s.starts()
				e := tr.next(t, UnknownStop)
				e.work = s.upgrading()
				if o := e.run(t.Context()); o.Result == event.ResultDone || s.starts() != before {
					t.Errorf("resumed: %+v", o)
				}
			})
		})
	}
}

// A kubelet that says that it is well, and whose Node does not get Ready, stops the run; where the
// one of before is is said.
func TestUnitFleetNeverReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, s := unitsSite(t, nil, "b")
		m := s.all["b"]
		started := m.Started
		m.Started = func(component, binary string) {
			if started(component, binary); component == units.Kubelet {
				tr.cluster.change(func() {
					n := tr.cluster.nodes["b"].DeepCopy()
					n.Status.Conditions[0] = corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Message: "no runtime"}
					tr.cluster.nodes["b"] = n
				})
			}
		}
		o := tr.run(t.Context())
		if n := o.Status.Nodes["b"]; o.Result == event.ResultDone || n.Standing != Failed || !contains(n.Reason, "the node is not Ready") || !contains(n.Hint, ".before-"+newVersion) {
			t.Errorf("%+v; %+v", o, n)
		}
	})
}

// A wrapper is not replaced, whatever the plan says.
func TestUnitFleetWrapper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, s := unitsSite(t, nil, "b")
		s.all["b"].Program(units.Kubelet, "/usr/bin/env", "kubelet")
		if o := tr.run(t.Context()); o.Result != event.ResultUnfinished || !contains(o.Reason, "kubelet.service starts /usr/bin/env, which is not called kubelet: refit would replace that") || len(s.started) != 0 {
			t.Fatalf("%+v, started %v", o, s.started)
		}
	})
}

// Flags and gates that a new binary does not know are found before anything is touched.
func TestUnitFleetAsksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, s := unitsSite(t, map[string][]string{units.Kubelet: {"gate=Gone"}, units.KubeProxy: {"flag=gone"}}, "b")
		s.all["b"].Flags(units.Kubelet, "--config=/c")
		s.all["b"].Write("/c", "featureGates: {Gone: true}\n")
		s.all["b"].Flags(units.KubeProxy, "--gone=1")
		o := tr.run(t.Context())
		if o.Result != event.ResultUnfinished || !contains(o.Reason, "node b: kubelet v1.37.2 does not know the feature gate Gone; kube-proxy v1.37.2 does not know the flag --gone") ||
			!contains(o.Reason, "no node of it was cordoned or upgraded") {
			t.Fatalf("%+v", o)
		}
		if len(s.started) != 0 {
			t.Errorf("started: %v", s.started)
		}
	})
}

// A source that has other binaries than were planned is not believed.
func TestUnitFleetOtherBinaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, s := unitsSite(t, nil, "b")
		planned := s.sums["v1.37.2/bin/linux/amd64/kubelet"]
		s.offer(t, units.Kubelet, "kubelet v1.37.2 another")
		s.sums["v1.37.2/bin/linux/amd64/kubelet"] = planned
		if o := tr.run(t.Context()); o.Result != event.ResultUnfinished || !contains(o.Reason, "has another v1.37.2/bin/linux/amd64/kubelet than when the upgrade was planned") {
			t.Fatalf("%+v", o)
		}
	})
}

// unitsKilledAfter is a run that is killed after so many commands on its machines, or when it is to
// write so many records; 0 is never.
func unitsKilledAfter(t *testing.T, special map[string][]string, commands, records int) (tr *trial, s *services, o Outcome) {
	t.Helper()
	tr, s = unitsSite(t, special, "b")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	dead, seen := false, 0
	s.kill, s.die = commands, func() { dead = true; cancel(errDead) }
	tr.log.fail = func(Record) error {
		seen++
		if dead || records > 0 && seen >= records {
			dead = true
			s.mu.Lock()
			s.kill = max(1, s.commands) // its machines hear no more of it either
			s.mu.Unlock()
			cancel(errDead)
			return errors.New("killed")
		}
		return nil
	}
	o = tr.run(ctx)
	return tr, s, o
}

// resume carries on with a run that was killed, without another word.
func (s *services) resume(t *testing.T, tr *trial) Outcome {
	t.Helper()
	tr.log.fail = nil
	s.mu.Lock()
	s.kill, s.commands = 0, 0
	s.mu.Unlock()
	e := tr.next(t, UnknownStop)
	e.work = s.upgrading()
	return e.run(t.Context())
}

// A run is killed after every third command from the one on that puts a binary into its place that does
// not get well. Resumed, it ends with the one of before, and what was noted as refused is not
// started again.
func TestUnitFleetKilledRollingBack(t *testing.T) {
	broken := map[string][]string{units.APIServer: {"dies"}}
	path := "/usr/local/bin/" + units.APIServer
	commands := 0
	synctest.Test(t, func(t *testing.T) {
		_, s, o := unitsKilledAfter(t, broken, 0, 0)
		if o.Result == event.ResultDone || s.all["a"].Text(path+".refused-"+newVersion) == "" {
			t.Fatalf("without a kill: %+v; %q", o, s.all["a"].Files())
		}
		commands = s.commands
	})
	tried, noted := 0, 0
	for n := 1; n < commands; n += 3 {
		t.Run(fmt.Sprintf("command %03d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, s, _ := unitsKilledAfter(t, broken, n, 0)
				m := s.all["a"]
				if m.Text(path+".before-"+newVersion) == "" {
					return
				}
				tried++
				refused := m.Text(path+".refused-"+newVersion) != ""
				if refused {
					noted++
				}
				const died = "a " // what does not live has no name
				was := s.started[died]
				o := s.resume(t, tr)
				n := o.Status.Nodes["a"]
				told := contains(n.Reason, "was rolled back to the binary of before, which runs and is well") ||
					contains(n.Reason, "another try may make worse") // that was in the journal when the kill came
				if o.Result == event.ResultDone || n.Standing != Failed || n.Steps[units.APIServer] != Stuck || !told {
					t.Fatalf("resumed: %+v; %+v", o, n)
				}
				if m.Running(units.APIServer) != unitstest.Binary(units.APIServer, oldVersion) || s.all["b"].Running(units.Kubelet) != unitstest.Binary(units.Kubelet, oldVersion) {
					t.Errorf("%q and %q run", m.Running(units.APIServer), s.all["b"].Running(units.Kubelet))
				}
				if is := s.started[died]; refused && is != was || is > was+1 {
					t.Errorf("the new one was started %d times, and %d times in the end", was, is)
				}
			})
		})
	}
	if tried < 5 || noted < 3 || noted == tried {
		t.Errorf("killed %d times with the new one in its place, %d times when it was refused", tried, noted)
	}
}

// A run is killed after every third command that it has run on its machines, and before each of
// its records. Resumed, it brings every machine to the version; no component was started
// twice, and nothing stays cordoned.
func TestUnitFleetKilled(t *testing.T) {
	resume := func(t *testing.T, tr *trial, s *services) {
		if o := s.resume(t, tr); o.Result != event.ResultDone {
			t.Fatalf("resumed: %+v; %+v", o, o.Status.Nodes)
		}
		s.upgraded(t, tr.cluster)
	}
	commands, records := 0, 0
	synctest.Test(t, func(t *testing.T) {
		tr, s, o := unitsKilledAfter(t, nil, 0, 0)
		if o.Result != event.ResultDone {
			t.Fatalf("without a kill: %+v", o)
		}
		commands, records = s.commands, len(tr.log.records)-2 // created and opened are written before
	})
	t.Logf("a run has %d commands and writes %d records", commands, records)
	for n := 1; n < commands; n += 3 {
		t.Run(fmt.Sprintf("command %03d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, s, _ := unitsKilledAfter(t, nil, n, 0)
				resume(t, tr, s)
			})
		})
	}
	for n := 1; n <= records; n++ {
		t.Run(fmt.Sprintf("record %02d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, s, _ := unitsKilledAfter(t, nil, 0, n)
				resume(t, tr, s)
			})
		})
	}
}

// etcd goes one minor at a time and not back, whatever the plan knew of its versions: the binary
// is asked on the machine, before anything is touched.
func TestUnitFleetEtcdStep(t *testing.T) {
	for runs, want := range map[string]string{
		"3.8.1":  "etcd v1.37.2 is 3.7.3, and etcd 3.8.1 does not go back",
		"3.5.35": "etcd v1.37.2 is 3.7.3, and etcd 3.5.35 goes one minor at a time: 3.6 comes first",
	} {
		t.Run(runs, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, s := unitsSite(t, nil, "b")
				s.all["a"].Write("/usr/local/bin/etcd", "etcd "+runs)
				if _, err := s.all["a"].Exec(t.Context(), []string{"systemctl", "restart", "--no-block", "--", "etcd.service"}, host.ExecOptions{}); err != nil {
					t.Fatal(err)
				}
				before := s.starts()
				o := tr.run(t.Context())
				if o.Result != event.ResultUnfinished || !contains(o.Reason, want) || !contains(o.Reason, "no node of it was cordoned or upgraded") {
					t.Fatalf("%+v", o)
				}
				if s.starts() != before {
					t.Errorf("started: %v", s.started)
				}
			})
		})
	}
}

// A service that was planned and is not there, or that systemd cannot read, is no reason to go on
// without it.
func TestUnitFleetServiceGone(t *testing.T) {
	for says, want := range map[string]string{
		"LoadState=not-found\nActiveState=inactive\nMainPID=0\n":                     "node b: there is no kube-proxy.service any more, and it is to be raised",
		"LoadState=masked\nActiveState=inactive\nMainPID=0\n":                        "node b: there is no kube-proxy.service any more, and it is to be raised",
		"LoadState=bad-setting\nActiveState=active\nSubState=running\nMainPID=101\n": "systemd has not read kube-proxy.service: it is bad-setting",
		"LoadState=masked\nActiveState=active\nSubState=running\nMainPID=101\n":      "systemd has not read kube-proxy.service: it is masked",
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, s := unitsSite(t, nil, "b")
				s.shows = map[string]map[string]string{"b": {"kube-proxy.service": says}}
				o := tr.run(t.Context())
				if o.Result != event.ResultUnfinished || !contains(o.Reason, want) || s.starts() != 0 {
					t.Fatalf("%+v; started: %v", o, s.started)
				}
			})
		})
	}
}

// Of several members of etcd each is asked; one that cannot be is a problem, as the others may
// be too few without it. One that is alone is asked by what it serves.
func TestUnitFleetMembers(t *testing.T) {
	_, s := unitsSite(t, nil, "b")
	s.all["c"] = unitstest.New(oldVersion, units.All()...)
	members := func(names ...string) string {
		t.Helper()
		var nodes []*corev1.Node
		for _, name := range names {
			nodes = append(nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
		problems, err := s.upgrading().machines.Members(t.Context(), "run", nodes)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(problems, "; ")
	}
	if got := members("a", "b"); got != "" {
		t.Errorf("one that is well, and a worker: %s", got)
	}
	if got := members("c", "b"); got != "" {
		t.Errorf("one that cannot be asked, alone: %s", got)
	}
	if got := members("a", "c"); !strings.HasPrefix(got, "whether its member on node c is well cannot be asked: find etcd: kube-apiserver.service has no --etcd-servers") {
		t.Errorf("two, one of which cannot be asked: %s", got)
	}
	s.all["c"].Flags(units.APIServer, "--etcd-servers=http://10.255.0.1:2379")
	if got := members("a", "c"); got != "whether its member on node c is well cannot be asked: it tells that nowhere, and the API server beside it does not name it" {
		t.Errorf("two, one of which nobody names: %s", got)
	}
	s.all["c"].Flags(units.APIServer, "--etcd-servers=http://127.0.0.1:1")
	if got := members("a", "c"); !strings.HasPrefix(got, "its member on node c: http://127.0.0.1:1 does not answer") {
		t.Errorf("two, one of which does not serve: %s", got)
	}
}

// A new etcd that runs and does not take part is rolled back; if the one of before does not
// either, both and the backup are named.
func TestUnitFleetEtcdTakesNoPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, s := unitsSite(t, nil, "b")
		s.all["a"].Flags(units.Etcd)
		s.all["a"].Flags(units.APIServer, "--etcd-servers=http://127.0.0.1:1") // nobody is there
		u := *tr.spec.Upgrade
		u.Backup = &Backup{File: "/backups/etcd.db"}
		v := Visit{Run: "run", Node: tr.cluster.nodes["a"], Stage: u.Stages[0], Upgrade: &u}
		machines := s.upgrading().machines
		if err := machines.Fetch(t.Context(), v, nil); err != nil {
			t.Fatal(err)
		}
		p, err := machines.Open(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		step := p.Serving()[0]
		err = step.Do(t.Context(), nil)
		if _, final := errors.AsType[*FinalError](err); !final || step.Name != units.Etcd ||
			!strings.Contains(err.Error(), "etcd v1.37.2 was not well in time (http://127.0.0.1:1 does not answer") || !strings.Contains(err.Error(), "which is not well either") {
			t.Errorf("%s: %v", step.Name, err)
		}
		for _, want := range []string{
			"/usr/local/bin/etcd is the one of before, and the new one waits as /usr/local/bin/etcd.v1.37.2",
			"refit restore /backups/etcd.db",
		} {
			if advice := hint.Of(err); !strings.Contains(advice, want) {
				t.Errorf("%q is not in %q", want, advice)
			}
		}
		if has := s.all["a"].Running(units.Etcd); has != unitstest.Binary(units.Etcd, oldVersion) || s.all["a"].Text("/usr/local/bin/etcd.v1.37.2") == "" {
			t.Errorf("%q runs, of %v", has, s.all["a"].Files())
		}
	})
}

// threePlanes makes b and c planes like a, and d their worker, in the order of a plan: all members
// of etcd, all API servers, then what depends on them, and the kubelets last.
func threePlanes(t *testing.T, special map[string][]string) (*trial, *services) {
	t.Helper()
	tr, s := unitsSite(t, special, "b", "c", "d")
	planes := []string{"a", "b", "c"}
	for _, name := range planes[1:] {
		for _, component := range units.Plane() {
			s.all[name].Add(component, unitstest.Binary(component, oldVersion))
		}
		s.all[name].Flags(units.Etcd, "--listen-metrics-urls=http://127.0.0.1:2381")
	}
	var stages []Stage
	for _, components := range [][]string{{units.Etcd}, {units.APIServer}, {units.ControllerManager, units.Scheduler}, units.Node()} {
		for _, name := range planes {
			stages = append(stages, Stage{
				Role: OtherControlPlane, Version: newVersion, Nodes: []string{name}, Components: components, KubeletLater: !slices.Contains(components, units.Kubelet),
			})
		}
	}
	stages = append(stages, Stage{Role: Workers, Version: newVersion, Nodes: []string{"d"}, Components: units.Node()})
	tr.spec.Upgrade.Stages = stages
	if err := tr.spec.validate(); err != nil {
		t.Fatal(err)
	}
	return tr, s
}

// Three planes are upgraded one component after the other, each on all of them.
func TestUnitFleetThreePlanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, s := threePlanes(t, nil)
		var order []string
		for name, m := range s.all {
			started := m.Started
			m.Started = func(component, binary string) {
				order = append(order, name+" "+component)
				started(component, binary)
			}
		}
		if o := tr.run(t.Context()); o.Result != event.ResultDone {
			t.Fatalf("%+v; %+v", o, o.Status.Nodes)
		}
		s.upgraded(t, tr.cluster)
		want := []string{
			"a etcd", "b etcd", "c etcd", "a kube-apiserver", "b kube-apiserver", "c kube-apiserver",
			"a kube-controller-manager", "a kube-scheduler", "b kube-controller-manager", "b kube-scheduler", "c kube-controller-manager", "c kube-scheduler",
			"a kubelet", "a kube-proxy", "b kubelet", "b kube-proxy", "c kubelet", "c kube-proxy", "d kubelet", "d kube-proxy",
		}
		if !slices.Equal(order, want) {
			t.Errorf("started in the order %q", order)
		}
	})
}

// Where one member of three cannot be asked how it is, no other one is restarted.
func TestUnitFleetThreePlanesQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, s := threePlanes(t, nil)
		s.all["b"].Flags(units.Etcd)
		o := tr.run(t.Context())
		if o.Result == event.ResultDone || !contains(o.Status.Nodes["a"].Reason, "whether its member on node b is well cannot be asked") || s.starts() != 0 {
			t.Errorf("%+v; %+v; started: %v", o, o.Status.Nodes["a"], s.started)
		}
	})
}
