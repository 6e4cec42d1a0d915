// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/host"
	"refit.dev/refit/host/remote"
	"refit.dev/refit/internal/hint"
)

// Access says how machines are reached over SSH. It holds no secret, and who resumes
// a run reaches them the same way.
type Access struct {
	// User is the login, IdentityFile the path of a private key: "" is what the
	// configuration of ssh says. What an Exception says goes before.
	User         string `json:"user,omitempty"`
	IdentityFile string `json:"identityFile,omitempty"`
	// ConfigFile replaces the user's and the system's ssh_config; remote.NoConfig is none.
	ConfigFile string `json:"configFile,omitempty"`
	// Nodes are sorted by their names.
	Nodes []Exception `json:"nodes,omitempty"`
}

// Check says which nodes of the inventory the cluster does not have.
func (a Access) Check(known func(node string) bool) error {
	var unknown []string
	for _, e := range a.Nodes {
		if !known(e.Node) {
			unknown = append(unknown, fmt.Sprintf("%q (line %d)", e.Node, e.Line))
		}
	}
	if len(unknown) > 0 {
		return hint.Wrap(fmt.Errorf("the inventory names nodes that the cluster does not have: %s", strings.Join(unknown, ", ")),
			"kubectl get nodes shows what there is; nothing was changed")
	}
	return nil
}

// Machines hands out the machines of nodes, one for each: there is one connection to
// each machine. Its methods may be called by several goroutines.
type Machines struct {
	network *remote.Network
	access  Access
	except  map[string]Exception

	mu   sync.Mutex
	open map[types.UID]host.Machine
}

// Open reads the configuration of ssh. Nothing is connected to before it is needed.
func Open(a Access, o remote.Options) (*Machines, error) {
	o.ConfigFile = a.ConfigFile
	network, err := remote.New(o)
	if err != nil {
		return nil, err
	}
	m := &Machines{network: network, access: a, except: map[string]Exception{}, open: map[types.UID]host.Machine{}}
	for _, e := range a.Nodes {
		m.except[e.Node] = e
	}
	return m, nil
}

// Warnings says what of the configuration of ssh is left out, and why.
func (m *Machines) Warnings() []string { return m.network.Warnings() }

// Target says where the machine of a node is and how to log in to it. It asks nobody,
// so that it can be called for all nodes before anything is done.
func (m *Machines) Target(node *corev1.Node) (remote.Target, error) {
	e := m.except[node.Name]
	a := remote.Address{
		Name: node.Name, Host: addressOf(node), User: m.access.User, IdentityFile: m.access.IdentityFile,
		Port: e.Port, ProxyJump: e.ProxyJump, Sudo: e.Sudo,
	}
	if e.Address != "" {
		a.Host, a.Exact = e.Address, true
	}
	if e.User != "" {
		a.User = e.User
	}
	if e.IdentityFile != "" {
		a.IdentityFile = e.IdentityFile
	}
	t, err := m.network.Target(a)
	if err != nil {
		return t, fmt.Errorf("node %w", err)
	}
	return t, nil
}

// Place says where the machine of a node is, and by which way it is reached.
func (m *Machines) Place(node *corev1.Node) (string, error) {
	if m.except[node.Name].Local {
		return "this machine", nil
	}
	t, err := m.Target(node)
	return t.Place(), err
}

// addressOf is where a node says that its machine is.
func addressOf(node *corev1.Node) string {
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeHostName} {
		for _, a := range node.Status.Addresses {
			if a.Type == kind && a.Address != "" {
				return a.Address
			}
		}
	}
	return node.Name
}

// shared is a machine that several have: none of them closes it for the others.
type shared struct{ host.Machine }

func (shared) Close() error { return nil }

// Machine returns the machine of a node, for the named run: the same one each time.
// Its own Close does nothing: that of m closes them all.
func (m *Machines) Machine(node *corev1.Node, run string) (host.Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if machine := m.open[node.UID]; machine != nil {
		return shared{machine}, nil
	}
	var machine host.Machine
	if m.except[node.Name].Local {
		machine = host.Here(host.Environment(node, run))
	} else {
		target, err := m.Target(node)
		if err != nil {
			return nil, err
		}
		machine = m.network.Machine(target, host.Environment(node, run))
	}
	m.open[node.UID] = machine
	return shared{machine}, nil
}

// Close closes all machines that were handed out.
func (m *Machines) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, machine := range m.open {
		errs = append(errs, machine.Close())
	}
	clear(m.open)
	return errors.Join(append(errs, m.network.Close())...)
}
