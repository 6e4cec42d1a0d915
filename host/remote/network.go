// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"sync"

	"k8s.io/utils/clock"

	"refit.dev/refit/host"
)

// Options are the surroundings in which ssh would run.
type Options struct {
	// ConfigFile replaces the user's and the system's ssh_config; NoConfig is none.
	ConfigFile string
	// Home is the user's directory, User the login name on this machine, Agent the
	// socket of the user's agent, "" if there is none.
	Home, User, Agent string
	Clock             clock.WithTicker
}

// DefaultOptions are those of the process.
func DefaultOptions() (Options, error) {
	me, err := user.Current()
	if err != nil {
		return Options{}, fmt.Errorf("find out who the user is: %w", err)
	}
	return Options{Home: me.HomeDir, User: me.Username, Agent: os.Getenv("SSH_AUTH_SOCK"), Clock: clock.RealClock{}}, nil
}

// Network reaches machines. Jump hosts are shared: there is one connection to each,
// whatever the number of machines behind it.
type Network struct {
	options  Options
	settings settings
	warnings []string

	mu     sync.Mutex
	jumped map[string]*link
}

// New reads the configuration of ssh.
func New(o Options) (*Network, error) {
	s, warnings, err := loadSettings(o.ConfigFile, o.Home, o.User)
	if err != nil {
		return nil, err
	}
	return &Network{options: o, settings: s, warnings: warnings, jumped: map[string]*link{}}, nil
}

// Warnings says what of the configuration of ssh is left out, and why.
func (n *Network) Warnings() []string { return n.warnings }

// Machine returns the machine at t. Nothing is connected before it is needed. The
// variables env ("NAME=value") are in the environment of what its Run runs.
//
// Besides those of host.Machine, its errors are ErrHostKey, ErrLogin, ErrSudo and
// ErrShell, which will not go away by themselves, and others, which are Temporary.
func (n *Network) Machine(t Target, env []string) host.Machine {
	var way *link
	for i := range t.Jumps {
		way = n.jump(t.Jumps[i], way)
	}
	m := &machine{link: newLink(n.options, t, way), sessions: make(chan struct{}, maxSessions)}
	return host.Over(m, env)
}

// jump returns the link to a jump host that is reached over another one, or directly.
func (n *Network) jump(t Target, over *link) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := fmt.Sprintf("%p %+v", over, t)
	if n.jumped[key] == nil {
		n.jumped[key] = newLink(n.options, t, over)
	}
	return n.jumped[key]
}

// Close closes the connections to the jump hosts. Machines are closed before.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, l := range n.jumped {
		errs = append(errs, l.Close())
	}
	n.jumped = map[string]*link{}
	return errors.Join(errs...)
}
