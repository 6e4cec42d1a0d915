// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Status is what is there of a lab.
type Status struct {
	Name       string          `json:"name"`
	Options    Options         `json:"options"`
	Kubeconfig string          `json:"kubeconfig"`
	SSHConfig  string          `json:"sshConfig"`
	Store      string          `json:"store"` // URL
	Machines   []MachineStatus `json:"machines"`
	// Trouble is why the nodes are not known, if so.
	Trouble string `json:"trouble,omitempty"`
}

// MachineStatus is what is there of a machine.
type MachineStatus struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Address string `json:"address"`
	// State is what the engine says: running, exited, paused; absent without a container.
	State string `json:"state"`
	// Node is Ready, NotReady or Unknown, with ",cordoned" behind it if it is; empty without a Node.
	Node    string `json:"node,omitempty"`
	Version string `json:"version,omitempty"` // the kubelet's, as the Node has it
}

// Open returns the lab of a name, for what can be done with one that Up has
// made. The error wraps ErrNotFound or ErrNoEngine.
func Open(ctx context.Context, name string) (*Lab, error) {
	l, err := read(name)
	if err != nil {
		return nil, err
	}
	l.engine, err = findEngine(ctx)
	return l, err
}

// List returns what is there of every lab, by name.
func List(ctx context.Context) ([]Status, error) {
	all, err := names()
	if err != nil {
		return nil, err
	}
	var out []Status
	for _, name := range all {
		l, err := Open(ctx, name)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoEngine) {
			s := Status{Name: name, Trouble: err.Error()}
			if l != nil {
				s.Options = l.Options()
			}
			out = append(out, s)
			continue
		}
		if err != nil {
			return nil, err
		}
		s, err := l.Status(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Status returns what is there of the lab.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	s := Status{Name: l.Name(), Options: l.Options(), Kubeconfig: l.Kubeconfig(), SSHConfig: l.SSHConfig(), Store: l.StoreURL()}
	nodes, err := l.nodes(ctx)
	if err != nil {
		s.Trouble = fmt.Sprintf("the nodes are not known: %v", err)
	}
	for _, m := range l.Machines() {
		state, err := l.state(ctx, m.Name)
		if err != nil {
			return Status{}, err
		}
		if state == "" {
			state = "absent"
		}
		ms := MachineStatus{Name: m.Name, Role: m.Role, Address: m.Address.String(), State: state}
		if node, ok := nodes[m.Name]; ok {
			ms.Node, ms.Version = nodeState(node), node.Status.NodeInfo.KubeletVersion
		}
		s.Machines = append(s.Machines, ms)
	}
	return s, nil
}

func (l *Lab) nodes(ctx context.Context) (map[string]corev1.Node, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Second, errors.New("the API server does not answer"))
	defer cancel()
	out, err := l.kubectl(ctx, nil, "get", "nodes", "--output", "json")
	if err != nil {
		return nil, err
	}
	var list corev1.NodeList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("read the nodes: %w", err)
	}
	nodes := map[string]corev1.Node{}
	for _, n := range list.Items {
		nodes[n.Name] = n
	}
	return nodes, nil
}

func nodeState(n corev1.Node) string {
	state := "Unknown"
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type != corev1.NodeReady || c.Status == corev1.ConditionUnknown:
		case c.Status == corev1.ConditionTrue:
			state = "Ready"
		default:
			state = "NotReady"
		}
	}
	if n.Spec.Unschedulable {
		state += ",cordoned"
	}
	return state
}
