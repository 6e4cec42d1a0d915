// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"

	"refit.dev/refit/drain"
)

// drainFlags are kubectl drain's, with their names and meaning there.
type drainFlags struct {
	force, ignoreDaemonSets, deleteEmptyDirData, disableEviction bool

	podSelector string
	gracePeriod int64
	skipWait    int32
	timeout     time.Duration
	chunkSize   int64
}

func (f *drainFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.force, "force", false, "evict pods too that no controller would replace")
	flags.BoolVar(&f.ignoreDaemonSets, "ignore-daemonsets", true, "leave DaemonSet pods alone; false refuses nodes that have any")
	flags.BoolVar(&f.deleteEmptyDirData, "delete-emptydir-data", false, "evict pods too that use emptyDir volumes, whose data is deleted with them")
	flags.BoolVar(&f.disableEviction, "disable-eviction", false, "delete pods instead of evicting them, past their disruption budgets; use with caution")
	flags.Int64Var(&f.gracePeriod, "grace-period", -1, "seconds that each pod gets to terminate; negative: what the pod says")
	flags.StringVar(&f.podSelector, "pod-selector", "", "label selector of the pods to evict; the others stay")
	flags.Int32Var(&f.skipWait, "skip-wait-for-delete-timeout", 0, "do not wait for pods that were deleted more than this many seconds ago; 0 waits")
	flags.DurationVar(&f.timeout, "timeout", 0, "how long it may take before giving up; 0 is no limit")
	flags.Int64Var(&f.chunkSize, "chunk-size", 500, "accepted for kubectl's sake: refit watches, and the client chooses the size of what it reads")
}

// options checks the flags. What is wrong with them is wrong usage.
func (f *drainFlags) options() (drain.Options, error) {
	o := drain.Options{
		Force: f.force, IgnoreDaemonSets: f.ignoreDaemonSets, DeleteEmptyDirData: f.deleteEmptyDirData,
		DisableEviction: f.disableEviction, Timeout: f.timeout, SkipWaitForDelete: time.Duration(f.skipWait) * time.Second,
	}
	switch {
	case f.timeout < 0:
		return o, usageError(fmt.Errorf("--timeout %s: a time cannot be negative; 0 is no limit", f.timeout))
	case f.skipWait < 0:
		return o, usageError(fmt.Errorf("--skip-wait-for-delete-timeout %d: want seconds; 0 waits", f.skipWait))
	case f.chunkSize < 0:
		return o, usageError(errors.New("--chunk-size cannot be negative"))
	}
	if f.gracePeriod >= 0 {
		o.GracePeriod = &f.gracePeriod
	}
	if f.podSelector != "" {
		selector, err := labels.Parse(f.podSelector)
		if err != nil {
			return o, usageError(fmt.Errorf("--pod-selector %q: %w", f.podSelector, err))
		}
		o.PodSelector = selector
	}
	return o, nil
}

// dryRunFlag adds kubectl's --dry-run; without a value it is "client".
func dryRunFlag(cmd *cobra.Command, value *string) {
	flags := cmd.Flags()
	flags.StringVar(value, "dry-run", "none", "none, client (show what would be asked for) or server (ask the API server, which changes nothing)")
	flags.Lookup("dry-run").NoOptDefVal = string(drain.DryRunClient)
	offer(cmd, "dry-run", "none", string(drain.DryRunClient), string(drain.DryRunServer))
}

// lookFlag adds the --dry-run of a verb that shows its plan, for which there is no
// asking the API server: who is used to kubectl says client and none as well.
func lookFlag(flags *pflag.FlagSet, look *bool) {
	flags.Var((*lookValue)(look), "dry-run", "show the plan, and change nothing")
	flags.Lookup("dry-run").NoOptDefVal = "true"
}

type lookValue bool

func (v *lookValue) String() string { return strconv.FormatBool(bool(*v)) }
func (v *lookValue) Type() string   { return "bool" }

func (v *lookValue) Set(s string) error {
	switch s {
	case string(drain.DryRunClient):
		*v = true
	case "none": // which drain.DryRunNone does not spell
		*v = false
	case string(drain.DryRunServer):
		return errors.New("a plan is not made by the API server: --dry-run shows it, and refit drain NODE --dry-run=server asks about each pod of a node")
	default:
		look, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("want client or none, or no value: --dry-run shows the plan and changes nothing")
		}
		*v = lookValue(look)
	}
	return nil
}

func parseDryRun(value string) (drain.DryRun, error) {
	d, err := drain.ParseDryRun(value)
	if err != nil {
		return d, usageError(fmt.Errorf("--%w", err))
	}
	return d, nil
}
