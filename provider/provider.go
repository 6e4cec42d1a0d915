// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"refit.dev/refit/internal/hint"
)

// Provider makes and removes machines. Its methods may be called from several goroutines
// at a time, but not for the same machine.
type Provider interface {
	// List returns all machines of the cluster's nodes that the provider knows of, whoever
	// asked for them. It changes nothing. A *BadAnswerError says that the answer cannot be true.
	List(ctx context.Context) ([]Machine, error)
	// Create makes the machine that is asked for, or finds the one that was made under the
	// same key. It may return before the machine is up.
	Create(ctx context.Context, o Order) (Machine, error)
	// Await returns when no Create of a machine with that key is under way any more, not even one of a
	// process that was killed: what it has made is listed from then on, as far as the provider keeps its word.
	Await(ctx context.Context, key string) error
	// Delete removes a machine for good. One that is not there any more is no error. It
	// may return before the machine is gone.
	Delete(ctx context.Context, run string, m Machine) error
}

// Machine is a machine as its provider tells of it.
type Machine struct {
	// Key is what it was asked for under; empty of a machine that somebody else has made.
	Key string `json:"key,omitempty"`
	// ID is the provider's own name of it: no other machine ever has it.
	ID string `json:"id"`
	// Node is the name of its Node; empty while that is not known.
	Node string `json:"node,omitempty"`
	// Deleting: it is on its way out.
	Deleting bool `json:"deleting,omitempty"`
}

// String names the machine in messages.
func (m Machine) String() string {
	if m.Node == "" {
		return "machine " + m.ID
	}
	return fmt.Sprintf("machine %s (node %s)", m.ID, m.Node)
}

// Order asks for a machine.
type Order struct {
	// Run is the one that asks, Key what the machine is asked for under: a DNS label, unique.
	Run string `json:"run"`
	Key string `json:"key"`
	// Version is that of the kubelet, such as v1.37.2.
	Version string `json:"version"`
	// Like is the machine in whose place the new one comes.
	Like Machine `json:"like"`
	// Labels and Taints (key=value:Effect) are what its Node is to have. They are put
	// on it in any case; a kubelet that registers with them has them a moment sooner.
	Labels map[string]string `json:"labels,omitempty"`
	Taints []string          `json:"taints,omitempty"`
	// Join is how it gets into the cluster; nil if that is the provider's own affair.
	Join *Join `json:"join,omitempty"`
}

// Join is what kubeadm join needs. The token is a secret, for a short time.
type Join struct {
	// Server is the API server, HOST:PORT.
	Server string `json:"server"`
	Token  string `json:"token"`
	// CACertHash is that of the cluster's authority, sha256:HEX.
	CACertHash string    `json:"caCertHash"`
	Expires    time.Time `json:"expires"`
}

// BadAnswerError says that a provider's answer breaks the contract: what it says cannot be
// true, or is no answer. Nothing may be done by it.
type BadAnswerError struct{ Err error }

func (e *BadAnswerError) Error() string { return "its answer cannot be used: " + e.Err.Error() }
func (e *BadAnswerError) Unwrap() error { return e.Err }

// TemporaryError says that the same may be asked again in a while.
type TemporaryError struct{ Err error }

func (e *TemporaryError) Error() string { return e.Err.Error() }
func (e *TemporaryError) Unwrap() error { return e.Err }

// What names may look like. IDs are paths in some clouds; names of Nodes are DNS subdomains.
var (
	keyPattern  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	idPattern   = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.:/+=@]{0,511}$`)
	nodePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
)

// Check says what is wrong with a machine that a provider tells of.
func (m Machine) Check() error {
	switch {
	case m.ID == "":
		return &BadAnswerError{fmt.Errorf("a machine without an id (key %q, node %q)", m.Key, m.Node)}
	case !idPattern.MatchString(m.ID):
		return &BadAnswerError{fmt.Errorf("%q is not the id of a machine", m.ID)}
	case m.Key != "" && !keyPattern.MatchString(m.Key):
		return &BadAnswerError{fmt.Errorf("machine %s: %q is not a key", m.ID, m.Key)}
	case m.Node != "" && !nodePattern.MatchString(m.Node):
		return &BadAnswerError{fmt.Errorf("machine %s: %q is not the name of a node", m.ID, m.Node)}
	}
	return nil
}

// CheckList says what is wrong with a list: nothing in it may be there twice.
func CheckList(list []Machine) error {
	ids, keys, nodes := map[string]bool{}, map[string]string{}, map[string]string{}
	for _, m := range list {
		if err := m.Check(); err != nil {
			return err
		}
		if ids[m.ID] {
			return &BadAnswerError{fmt.Errorf("machine %s is listed twice", m.ID)}
		}
		ids[m.ID] = true
		if m.Deleting { // its successor may have its names already
			continue
		}
		if other, twice := keys[m.Key]; twice && m.Key != "" {
			return &BadAnswerError{hint.Wrap(fmt.Errorf("machines %s and %s both have the key %s", other, m.ID, m.Key),
				"only one of them was asked for: remove the one that has no node, then resume")}
		}
		if other, twice := nodes[m.Node]; twice && m.Node != "" {
			return &BadAnswerError{hint.Wrap(fmt.Errorf("machines %s and %s both say that they are node %s", other, m.ID, m.Node),
				"see which of them it is, and have the other one listed without it")}
		}
		keys[m.Key], nodes[m.Node] = m.ID, m.ID
	}
	return nil
}

// ByKey finds the machine in a list that was asked for under a key.
func ByKey(list []Machine, key string) (Machine, bool) {
	return find(list, func(m Machine) bool { return m.Key == key && key != "" && !m.Deleting })
}

// ByID finds a machine in a list.
func ByID(list []Machine, id string) (Machine, bool) {
	return find(list, func(m Machine) bool { return m.ID == id })
}

// ByNode finds the machine of a Node in a list.
func ByNode(list []Machine, node string) (Machine, bool) {
	return find(list, func(m Machine) bool { return m.Node == node && node != "" && !m.Deleting })
}

func find(list []Machine, is func(Machine) bool) (Machine, bool) {
	for _, m := range list {
		if is(m) {
			return m, true
		}
	}
	return Machine{}, false
}
