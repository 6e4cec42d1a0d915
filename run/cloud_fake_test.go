// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/provider"
)

// fakeCloud is the provider and the roster of a fakeCluster. What it does is written into the cluster's
// log; it outlives refit, as a real one does.
type fakeCloud struct {
	c *fakeCluster

	mu       sync.Mutex
	machines []provider.Machine
	tokens   map[string][]string // that are good, by key
	serial   int
	// before says why a Create fails that has made nothing; nil is well.
	before func() error
	// version is what the kubelets of its machines are, if not what was asked for.
	version string
	// unseen is how many lists do not know yet what was made.
	unseen int
	// elsewhere: it lists the machines of another region, of which there are none, once a Node was removed.
	elsewhere, removed bool
}

func newFakeCloud(c *fakeCluster, nodes ...string) *fakeCloud {
	f := &fakeCloud{c: c, tokens: map[string][]string{}}
	for _, n := range nodes {
		f.machines = append(f.machines, provider.Machine{ID: "vm-" + n, Node: n})
	}
	return f
}

func (f *fakeCloud) did(format string, args ...any) {
	f.c.change(func() { f.c.did(format, args...) })
}

func (f *fakeCloud) List(context.Context) ([]provider.Machine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.elsewhere && f.removed {
		return nil, nil
	}
	if f.unseen > 0 {
		f.unseen--
		return slices.DeleteFunc(slices.Clone(f.machines), func(m provider.Machine) bool { return m.Key != "" }), nil
	}
	return slices.Clone(f.machines), nil
}

func (f *fakeCloud) Await(_ context.Context, key string) error {
	f.did("await %s", key)
	return nil
}

func (f *fakeCloud) Create(_ context.Context, o provider.Order) (provider.Machine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	token := ""
	if o.Join != nil {
		token = " with " + o.Join.Token
	}
	f.did("create %s%s", o.Key, token)
	if f.before != nil {
		if err := f.before(); err != nil {
			return provider.Machine{}, err
		}
	}
	if m, there := provider.ByKey(f.machines, o.Key); there {
		return m, nil
	}
	m := provider.Machine{Key: o.Key, ID: "vm-" + o.Key, Node: o.Key}
	f.machines = append(f.machines, m)
	node := readyNode(m.Node)
	node.Status.NodeInfo.KubeletVersion = cmp.Or(f.version, o.Version)
	f.c.change(func() { f.c.nodes[m.Node] = node })
	return m, nil
}

func (f *fakeCloud) Delete(_ context.Context, _ string, m provider.Machine) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.machines = slices.DeleteFunc(f.machines, func(x provider.Machine) bool {
		if x.ID == m.ID {
			f.did("delete %s", m.ID)
		}
		return x.ID == m.ID
	})
	return nil
}

func (f *fakeCloud) invite(_ context.Context, key string, lasting time.Duration) (*provider.Join, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serial++
	token := fmt.Sprintf("token-%d", f.serial)
	f.tokens[key] = append(f.tokens[key], token)
	return &provider.Join{Token: token, Expires: testTime.Add(lasting)}, nil
}

func (f *fakeCloud) disinvite(_ context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.tokens, key)
	return nil
}

func (f *fakeCloud) liken(context.Context, string, types.UID, likeness) error { return nil }

func (f *fakeCloud) remove(_ context.Context, name string, uid types.UID) error {
	f.mu.Lock()
	f.removed = true
	f.mu.Unlock()
	f.c.change(func() {
		if n := f.c.nodes[name]; n != nil && n.UID == uid {
			delete(f.c.nodes, name)
			f.c.did("remove %s", name)
		}
	})
	return nil
}

// replaceTrial is an upgrade of a, the control plane, whose other nodes give way to machines of a fakeCloud.
func replaceTrial(t *testing.T, join provider.Joining, nodes ...string) (*trial, *fakeCloud, func() upgrading) {
	t.Helper()
	c := newFakeCluster(t, nodes...)
	cloud := newFakeCloud(c, nodes...)
	spec := upgradeSpec(nodes...)
	command := provider.Command{Argv: []string{"none"}, Seconds: 60}
	spec.Upgrade.Replace = &Replace{
		Surge: 1, Provider: provider.Config{Create: command, Delete: command, List: command, Join: join},
		Machines: map[string]provider.Machine{}, Nodes: slices.Sorted(slices.Values(nodes)),
	}
	for _, n := range nodes[1:] {
		spec.Upgrade.Replace.Machines[n] = provider.Machine{ID: "vm-" + n, Node: n}
	}
	tr, fleet := upgradeTrial(t, c, spec)
	with := func() upgrading {
		u := tr.upgrading(fleet)
		u.provider, u.roster = cloud, cloud
		return u
	}
	tr.work = with()
	return tr, cloud, with
}
