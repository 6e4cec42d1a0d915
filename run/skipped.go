// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/provider"
)

// disinviteTime is how long the API server has to take back what a machine may join with; that ends
// by itself, a little later.
const disinviteTime = 10 * time.Second

// leftOver says which machines stay of a node that is gone before it was replaced: the one that was made in
// its place, and its own. One that has not joined may not do so any more.
func (e *engine) leftOver(ctx context.Context, node string) {
	e.mu.Lock()
	var made *Made
	joined := false
	if n := e.status.Nodes[node]; n != nil && e.spec.replaced(node) {
		made, joined = n.Machine, n.Steps[StepJoin] == Done
	}
	e.mu.Unlock()
	if made == nil {
		return
	}
	u, ok := e.work.(upgrading)
	if ok && !joined && e.spec.Upgrade.Replace.Provider.Join == provider.JoinKubeadm {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), disinviteTime)
		defer cancel()
		if err := u.roster.disinvite(limited, made.Key); err != nil {
			e.emit(event.Event{Type: event.Warning, Node: node, Message: fmt.Sprintf("%v; it ends by itself", err)})
		}
	}
	fresh := "what was asked for as " + made.Key + " may be there"
	if made.ID != "" {
		fresh = made.Machine.String() + ", made in its place, stays"
	}
	old := e.spec.Upgrade.Replace.Machines[node]
	e.emit(event.Event{
		Type: event.Warning, Node: node, Message: fmt.Sprintf("%s; its own machine was not removed: %s", fresh, old),
		Hint: "see what the provider lists, and have it remove what is not wanted",
	})
}
