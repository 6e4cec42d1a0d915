// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// status is status.json: how the supervisor and its children are.
type status struct {
	PID      int           `json:"pid"`
	Started  time.Time     `json:"started"`
	Children []childStatus `json:"children"`
}

// States of a child.
const (
	stateWaiting  = "waiting"  // for the children before it
	stateStarting = "starting" // runs, not ready yet
	stateReady    = "ready"
	stateBackoff  = "backoff" // died, will be started again
	stateStopped  = "stopped" // ended because the supervisor ends
)

type childStatus struct {
	Name     string `json:"name"`
	PID      int    `json:"pid,omitempty"`
	State    string `json:"state"`
	Restarts int    `json:"restarts"`
	// LastExit says how the child ended the last time it did.
	LastExit string `json:"lastExit,omitempty"`
}

// board keeps status.json up to date: each change is written at once and
// atomically, so a reader always finds a whole file.
type board struct {
	path string
	mu   sync.Mutex
	now  status
}

func newBoard(dir string, children []childConfig, started time.Time) (*board, error) {
	b := &board{path: filepath.Join(dir, "status.json"), now: status{PID: os.Getpid(), Started: started.UTC()}}
	for _, c := range children {
		b.now.Children = append(b.now.Children, childStatus{Name: c.Name, State: stateWaiting})
	}
	if err := b.write(); err != nil {
		return nil, err
	}
	return b, nil
}

// set changes the status of child i.
func (b *board) set(i int, change func(*childStatus)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.now.Children[i])
	return b.write()
}

func (b *board) write() error {
	data, err := json.MarshalIndent(b.now, "", "  ")
	if err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	tmp := b.path + ".tmp"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	if err := os.Rename(tmp, b.path); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	return nil
}
