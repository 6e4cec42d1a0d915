// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/drain"
	"refit.dev/refit/report"
	"refit.dev/refit/toleration"
)

// timeoutsSet is the JSON of `refit eviction-timeout set`.
type timeoutsSet struct {
	// DryRun is client or server: nothing was changed, whatever a Result says.
	DryRun    string       `json:"dryRun,omitempty"`
	Workloads []timeoutSet `json:"workloads"`
	// Advice is what to change where, in words, if no workload was selected; there are none
	// then. Flags are the flags of kube-apiserver that it is about.
	Advice string      `json:"advice,omitempty"`
	Flags  []flagToSet `json:"flags,omitempty"`
	// Cluster is what became of the default, with --cluster.
	Cluster *clusterSet `json:"cluster,omitempty"`
}

// flagToSet is a flag of kube-apiserver that would have to be changed: Default says what
// it is now, and of which servers, Wanted what it is to be.
type flagToSet struct {
	toleration.Default
	Wanted int64 `json:"wantedSeconds"`
}

// timeoutSet is what became of one workload.
type timeoutSet struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Seconds are what was asked for, Before what was so far, in words; NotReady and
	// Unreachable are the same as numbers, for the two taints. They are left out of what
	// was refused.
	Seconds     int64                `json:"seconds"`
	Before      string               `json:"before,omitempty"`
	NotReady    *toleration.Patience `json:"notReady,omitempty"`
	Unreachable *toleration.Patience `json:"unreachable,omitempty"`
	// Result is changed, unchanged (it was so already), refused, failed, or left: it was
	// not its turn yet when this was interrupted. One that failed because of an
	// interruption may have been changed.
	Result string `json:"result"`
	// Message is why it was refused or failed, Effect what the change does to its pods.
	Message  string   `json:"message,omitempty"`
	Effect   string   `json:"effect,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// The Results, which are part of the contract of the command line.
const (
	setChanged   = "changed"
	setUnchanged = "unchanged"
	setRefused   = "refused"
	setFailed    = "failed"
	setLeft      = "left"
)

// applyChanges makes the changes one after the other, and says what became of each. One
// that fails does not keep the others back; an interruption does.
func (a *app) applyChanges(ctx context.Context, client kubernetes.Interface, changes []toleration.Change, dryRun drain.DryRun) error {
	all := timeoutsSet{DryRun: string(dryRun), Workloads: make([]timeoutSet, 0, len(changes))}
	var errs []error
	interrupted := false
	for _, c := range changes {
		set := timeoutSet{
			Kind: c.Kind, Namespace: c.Namespace, Name: c.Name, Seconds: c.Seconds, Before: c.Before, Effect: c.Effect, Warnings: c.Warnings,
			Result: setChanged, Message: c.Refused,
		}
		if c.Refused == "" {
			set.NotReady, set.Unreachable = &c.NotReady, &c.Unreachable
		}
		switch {
		case c.Refused != "":
			set.Result = setRefused
		case ctx.Err() != nil:
			set.Result, interrupted = setLeft, true
		case c.Unchanged:
			set.Result = setUnchanged
		case dryRun != drain.DryRunClient:
			if err := c.Apply(ctx, client, dryRun == drain.DryRunServer); err != nil {
				if ctx.Err() != nil { // its answer was not waited for
					err, interrupted = fmt.Errorf("%s may have been changed, look at it: %w", c.Object(), err), true
				}
				set.Result, set.Message = setFailed, err.Error()
				errs = append(errs, err)
			}
		}
		all.Workloads = append(all.Workloads, set)
		if err := a.tellSet(set, c, dryRun); err != nil {
			return err
		}
	}
	if a.output != "text" {
		if err := report.WriteData(a.Out, a.output, all); err != nil {
			return err
		}
	}
	if interrupted {
		return exitWith(exitUnfinished, errors.Join(append(errs, errors.New("interrupted; what is listed was changed, the rest was not"))...))
	}
	return errors.Join(errs...)
}

// tellSet writes the line of a workload that is as it was to be.
func (a *app) tellSet(set timeoutSet, c toleration.Change, dryRun drain.DryRun) error {
	done := setUnchanged
	if set.Result == setChanged {
		done = "eviction timeout set to " + toleration.Duration(c.Seconds) +
			map[drain.DryRun]string{drain.DryRunClient: " (dry run)", drain.DryRunServer: " (server dry run)"}[dryRun]
	}
	if a.output != "text" || set.Result != setChanged && set.Result != setUnchanged {
		return nil
	}
	_, err := fmt.Fprintf(a.Out, "%s %s\n", oneLine(c.Object().String()), done)
	return err
}
