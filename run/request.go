// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"refit.dev/refit/cluster"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
)

// Request is what an operator asks for. One of Names, Selector and All says
// which nodes, one of Command and Reboot says what is done to them.
type Request struct {
	Names    []string
	Selector string
	All      bool
	Command  string
	Reboot   bool
	// Access is that of the Spec.
	Access         *inventory.Access
	MaxUnavailable Share
	// MaxUnavailablePerZone, Soak, MaxMoves, WorkEstimate and SurgeSingletons are
	// those of the Spec; a MaxMoves or WorkEstimate of 0 stands for the default.
	MaxUnavailablePerZone int
	Soak                  time.Duration
	MaxMoves              float64
	WorkEstimate          time.Duration
	SurgeSingletons       bool
	MaxFailures           int
	Drain                 Drain
	Timeouts              Timeouts
}

// InputError says that what was asked for makes no sense; nothing was changed.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

func badInput(format string, args ...any) *InputError {
	return &InputError{fmt.Errorf(format, args...)}
}

// Validate says what can be said without a cluster.
func (r Request) Validate() error {
	ways := 0
	for _, given := range []bool{len(r.Names) > 0, r.Selector != "", r.All} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		return hint.Wrap(badInput("no nodes were named"), "name nodes, or select them with -l SELECTOR, or take --all")
	case ways > 1:
		return hint.Wrap(badInput("nodes are named in more than one way"), "give names, or -l SELECTOR, or --all")
	case r.Command != "" && r.Reboot:
		return hint.Wrap(badInput("--command and --reboot exclude each other"), "a command may reboot the machine itself")
	case strings.TrimSpace(r.Command) == "" && !r.Reboot:
		return hint.Wrap(badInput("nothing to do to the nodes"), "give --command CMD or --reboot")
	}
	if r.SurgeSingletons && r.Drain.DisableEviction {
		return hint.Wrap(badInput("--surge-singletons and --disable-eviction exclude each other"),
			"with --disable-eviction pods are deleted whatever their budgets say: nothing has to be started before them")
	}
	if duplicates := repeated(r.Names); len(duplicates) > 0 {
		return hint.Wrap(badInput("nodes named more than once: %s", strings.Join(duplicates, ", ")), "name each node once")
	}
	if r.Selector != "" {
		if _, err := r.parseSelector(); err != nil {
			return err
		}
	}
	if _, err := r.Drain.options("", nil); err != nil {
		return &InputError{err}
	}
	return nil
}

func (r Request) parseSelector() (labels.Selector, error) {
	selector, err := labels.Parse(r.Selector)
	if err != nil {
		return nil, hint.Wrap(badInput("--selector %q: %w", r.Selector, err), "write it as kubectl has it, such as -l pool=web,zone!=a")
	}
	if selector.Empty() { // of blanks: it would match every node
		return nil, hint.Wrap(badInput("--selector %q selects nothing in particular", r.Selector), "give labels, such as -l pool=web, or --all")
	}
	return selector, nil
}

func repeated(names []string) []string {
	seen, twice := map[string]int{}, []string(nil)
	for _, name := range names {
		if seen[name]++; seen[name] == 2 {
			twice = append(twice, name)
		}
	}
	return twice
}

// newSpec turns a valid Request into the Spec of a run on the cluster.
func newSpec(r Request, s *cluster.Snapshot, id Identity, now time.Time) (*Spec, error) {
	nodes, err := r.resolve(s)
	if err != nil {
		return nil, err
	}
	spec := &Spec{
		Run: NewID(now), Created: now.UTC(), Cluster: id, Command: r.Command, Reboot: r.Reboot, Access: r.Access,
		MaxUnavailable: r.MaxUnavailable, MaxFailures: r.MaxFailures, Drain: r.Drain, Timeouts: r.Timeouts,
		MaxUnavailablePerZone: r.MaxUnavailablePerZone, Soak: metav1.Duration{Duration: r.Soak}, MaxMoves: r.MaxMoves,
		WorkEstimate: metav1.Duration{Duration: r.WorkEstimate}, SurgeSingletons: r.SurgeSingletons,
	}
	spec.fill()
	var cannot []string
	for _, n := range nodes {
		spec.Nodes = append(spec.Nodes, Target{Name: n.Name, UID: n.UID, Unschedulable: n.Spec.Unschedulable})
		if r.Reboot && !spec.canReboot(n.Node) {
			cannot = append(cannot, n.Name)
		}
	}
	if len(cannot) > 0 {
		return nil, hint.Wrap(badInput("refit cannot reboot %s: %s", phrase.Plural(len(cannot), "this machine", "these machines"), few(cannot)),
			"let refit log in to them with --ssh, or give --command with what reboots the machine and waits until it is up")
	}
	if err := spec.validate(); err != nil {
		return nil, &InputError{err}
	}
	return spec, nil
}

// resolve finds the nodes that were asked for, sorted by name.
func (r Request) resolve(s *cluster.Snapshot) ([]*cluster.Node, error) {
	if r.All {
		if len(s.Nodes) == 0 {
			return nil, badInput("the cluster has no nodes")
		}
		return s.Nodes, nil
	}
	if r.Selector != "" {
		selector, err := r.parseSelector()
		if err != nil {
			return nil, err
		}
		var nodes []*cluster.Node
		for _, n := range s.Nodes {
			if selector.Matches(labels.Set(n.Labels)) {
				nodes = append(nodes, n)
			}
		}
		if len(nodes) == 0 {
			return nil, hint.Wrap(badInput("no node matches the selector %q", r.Selector), "kubectl get nodes --show-labels shows what there is")
		}
		return nodes, nil
	}
	var unknown []string
	var nodes []*cluster.Node
	for _, name := range slices.Sorted(slices.Values(r.Names)) {
		if n := s.Node(name); n != nil {
			nodes = append(nodes, n)
		} else {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, hint.Wrap(&InputError{errors.New("unknown " + phrase.Plural(len(unknown), "node", "nodes") + ": " + strings.Join(unknown, ", "))},
			"kubectl get nodes shows what there is; nothing was changed")
	}
	return nodes, nil
}
