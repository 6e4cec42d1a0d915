// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/plan"
)

// Spec says what a run is to do. It is the first record of the run's journal
// and does not change afterwards: who resumes a run resumes this.
type Spec struct {
	Run     string    `json:"run,omitempty"`
	Created time.Time `json:"created"`
	Cluster Identity  `json:"cluster"`
	// Nodes are sorted by name.
	Nodes []Target `json:"nodes"`
	// Command is run for each node, or the node is rebooted, or upgraded, or its member of
	// etcd is restored: one of the four.
	Command string   `json:"command,omitempty"`
	Reboot  bool     `json:"reboot,omitempty"`
	Upgrade *Upgrade `json:"upgrade,omitempty"`
	Restore *Restore `json:"restore,omitempty"`
	// Access is how machines are reached over SSH: a command runs on the node's machine
	// then, and that can be rebooted and upgraded. Without it the command runs on refit's
	// own machine.
	Access *inventory.Access `json:"access,omitempty"`
	// MaxUnavailable is how many nodes of the cluster may be out at once.
	MaxUnavailable Share `json:"maxUnavailable,omitzero"`
	// MaxUnavailablePerZone is how many nodes of one zone may be out at once; 0 is no limit.
	MaxUnavailablePerZone int `json:"maxUnavailablePerZone,omitempty"`
	// Soak is how long a node keeps its slot after it is back and its workloads have recovered.
	Soak metav1.Duration `json:"soak,omitzero"`
	// MaxMoves is how many moves per pod the order of the nodes may cost, 1 or more.
	MaxMoves float64 `json:"maxMoves,omitempty"`
	// WorkEstimate is how long the command or the reboot is expected to take on
	// one node. Nothing is decided by it but what the plan says about time.
	WorkEstimate metav1.Duration `json:"workEstimate,omitzero"`
	// SurgeSingletons lets the run start replacements of pods that can never be
	// evicted, by a rollout restart of their Deployments, before it drains.
	SurgeSingletons bool `json:"surgeSingletons,omitempty"`
	// Order is the one in which the nodes are to start, Eager how much they may ask
	// of budgets at once (plan.Order), Pods how many had to leave the nodes when the run was planned.
	Order []string `json:"order,omitempty"`
	Eager int      `json:"eager,omitempty"`
	Pods  int      `json:"pods,omitempty"`
	// MaxFailures is how many nodes may fail before no new ones are started.
	MaxFailures int      `json:"maxFailures"`
	Drain       Drain    `json:"drain"`
	Timeouts    Timeouts `json:"timeouts"`
}

// Identity tells clusters apart.
type Identity struct {
	// UID is that of the namespace kube-system; empty if it may not be read.
	UID types.UID `json:"uid,omitempty"`
	// Server is the URL of the API server without a login (cluster.ServerName), which the same cluster may have several of.
	Server string `json:"server"`
}

// What a run has if nothing else is said. The estimates are guesses about
// machines nobody has measured: a reboot of a server, and a short command.
const (
	DefaultMaxMoves        = plan.DefaultMaxMoves
	DefaultRebootEstimate  = 2 * time.Minute
	DefaultCommandEstimate = time.Minute
	DefaultUpgradeEstimate = 2 * time.Minute
)

// fill puts defaults where a journal or a Request says nothing, and takes away what none should say.
func (s *Spec) fill() {
	s.Cluster.Server = cluster.ServerName(s.Cluster.Server) // which had a login in older journals
	if s.MaxMoves == 0 {
		s.MaxMoves = DefaultMaxMoves
	}
	if s.WorkEstimate.Duration == 0 {
		s.WorkEstimate.Duration = DefaultCommandEstimate
		switch {
		case s.Reboot:
			s.WorkEstimate.Duration = DefaultRebootEstimate
		case s.Upgrade != nil:
			s.WorkEstimate.Duration = DefaultUpgradeEstimate
		}
	}
}

// Same tells whether both are the same cluster, as far as can be known.
func (c Identity) Same(other Identity) bool {
	if c.UID != "" && other.UID != "" {
		return c.UID == other.UID
	}
	return c.Server == other.Server
}

// Target is a node to be maintained: this one, and no other of its name.
type Target struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
	// Unschedulable says that somebody had cordoned the node before the run: it
	// is maintained and stays cordoned.
	Unschedulable bool `json:"unschedulable,omitempty"`
}

// Drain is how nodes are emptied; the fields are the flags of refit drain.
type Drain struct {
	Force              bool   `json:"force,omitempty"`
	IgnoreDaemonSets   bool   `json:"ignoreDaemonSets"`
	DeleteEmptyDirData bool   `json:"deleteEmptyDirData,omitempty"`
	DisableEviction    bool   `json:"disableEviction,omitempty"`
	PodSelector        string `json:"podSelector,omitempty"`
	// GracePeriodSeconds overrides the pods' own; nil leaves it to them.
	GracePeriodSeconds *int64 `json:"gracePeriodSeconds,omitempty"`
	// SkipWaitForDelete: pods that have been terminating for longer than this are not waited for; 0 waits for all.
	SkipWaitForDelete metav1.Duration `json:"skipWaitForDelete,omitzero"`
}

// Timeouts bound the waits of a run. None of them but Command is 0.
type Timeouts struct {
	// Command is for the command on one node; 0 is no limit, because to end it
	// in the middle is seldom better than to wait.
	Command metav1.Duration `json:"command,omitzero"`
	// Drain is for emptying one node.
	Drain metav1.Duration `json:"drain"`
	// Ready is for a node to be Ready after the command or the reboot.
	Ready metav1.Duration `json:"ready"`
	// Recover is for the evicted workloads of one node to be back.
	Recover metav1.Duration `json:"recover"`
	// Stall is for the run as a whole: how long to go on while the API cannot be
	// reached, or while too many other nodes are out for any to be started.
	Stall metav1.Duration `json:"stall"`
}

// DefaultTimeouts are what the command line has if nothing else is said.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		Drain:   metav1.Duration{Duration: time.Hour},
		Ready:   metav1.Duration{Duration: 15 * time.Minute},
		Recover: metav1.Duration{Duration: 15 * time.Minute},
		Stall:   metav1.Duration{Duration: 10 * time.Minute},
	}
}

// NewID returns an identifier for a run begun at now: runs sort by it.
func NewID(now time.Time) string {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return now.UTC().Format("20060102-150405") + "-" + hex.EncodeToString(b[:])
}

var idPattern = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}-[0-9a-f]{4}$`)

// bootRequest returns the identifier under which the run asks for the reboot of
// a node. It has the form of a boot ID and is the same whenever it is asked
// for, so that asking twice is asking once.
func bootRequest(run string, node types.UID) string {
	h := sha256.Sum256([]byte("refit reboot\n" + run + "\n" + string(node)))
	x := hex.EncodeToString(h[:16])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// validate says what is wrong with a Spec, before anything is done for it.
func (s *Spec) validate() error {
	switch {
	case !idPattern.MatchString(s.Run):
		return fmt.Errorf("%q is not the identifier of a run", s.Run)
	case len(s.Nodes) == 0 && (s.Upgrade == nil || s.Upgrade.Managed == nil):
		return errors.New("no nodes to maintain")
	case s.Restore != nil:
		if s.Upgrade != nil || s.Reboot || s.Command != "" || s.Access == nil {
			return errors.New("want a restore, with a way to its machines, and nothing else")
		}
		return s.Restore.validate(s.Nodes)
	case s.Upgrade != nil && (s.Reboot || s.Command != ""), s.Upgrade == nil && (strings.TrimSpace(s.Command) == "") == !s.Reboot, s.Reboot && s.Command != "":
		return errors.New("want either a command or a reboot or an upgrade")
	case s.SurgeSingletons && s.Drain.DisableEviction:
		return errors.New("surgeSingletons and disableEviction exclude each other")
	case s.MaxUnavailable.number < 1:
		return errors.New("the number of nodes that may be unavailable is missing")
	case s.MaxFailures < 0:
		return fmt.Errorf("%d failures: want 0 or more", s.MaxFailures)
	case s.MaxUnavailablePerZone < 0:
		return fmt.Errorf("%d nodes of one zone at once: want 0 (no limit) or more", s.MaxUnavailablePerZone)
	case s.MaxMoves != 0 && !(s.MaxMoves >= 1 && s.MaxMoves <= math.MaxFloat64):
		return fmt.Errorf("%v moves per pod: want a number of 1 or more", s.MaxMoves)
	case s.Soak.Duration < 0:
		return fmt.Errorf("a soak of %s: want 0 (none) or more", s.Soak.Duration)
	case s.WorkEstimate.Duration < 0:
		return fmt.Errorf("the work is estimated at %s: want 0 (the default) or more", s.WorkEstimate.Duration)
	}
	for i, n := range s.Nodes {
		if n.Name == "" || n.UID == "" {
			return fmt.Errorf("node %q has no name or no UID", n.Name)
		}
		if i > 0 && s.Nodes[i-1].Name >= n.Name {
			return fmt.Errorf("node %s: nodes are not sorted, or named twice", n.Name)
		}
	}
	if err := s.validateStages(); err != nil {
		return err
	}
	if len(s.Order) > 0 && !s.ordersAll() {
		return errors.New("the order is not one of the nodes to maintain")
	}
	if s.Eager < 0 || s.Pods < 0 {
		return fmt.Errorf("an eagerness of %d, and %d pods: want 0 or more", s.Eager, s.Pods)
	}
	if _, err := s.Drain.options(s.Run, nil); err != nil {
		return err
	}
	if g := s.Drain.GracePeriodSeconds; g != nil && *g < 0 {
		return fmt.Errorf("a grace period of %d seconds: want 0 or more, or none given", *g)
	}
	if s.Drain.SkipWaitForDelete.Duration < 0 {
		return fmt.Errorf("pods that were deleted longer ago than %s: want 0 (all are waited for) or more", s.Drain.SkipWaitForDelete.Duration)
	}
	if s.Timeouts.Command.Duration < 0 {
		return fmt.Errorf("the command timeout is %s: want 0 (none) or more", s.Timeouts.Command.Duration)
	}
	for name, d := range map[string]metav1.Duration{
		"drain": s.Timeouts.Drain, "ready": s.Timeouts.Ready, "recover": s.Timeouts.Recover, "stall": s.Timeouts.Stall,
	} {
		if d.Duration <= 0 {
			return fmt.Errorf("the %s timeout is %s: want more than 0", name, d.Duration)
		}
	}
	return nil
}

// ordersAll tells whether Order names each node once.
func (s *Spec) ordersAll() bool {
	names := slices.Sorted(slices.Values(s.Order))
	return slices.EqualFunc(names, s.Nodes, func(name string, n Target) bool { return name == n.Name })
}

// target returns the target of that name, or nil.
func (s *Spec) target(name string) *Target {
	i, found := slices.BinarySearchFunc(s.Nodes, name, func(t Target, name string) int { return cmp.Compare(t.Name, name) })
	if !found {
		return nil
	}
	return &s.Nodes[i]
}
