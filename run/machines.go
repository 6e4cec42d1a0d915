// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/host"
)

// Visit is one turn of a node in an upgrade.
type Visit struct {
	Run     string
	Node    *corev1.Node
	Stage   Stage
	Upgrade *Upgrade
	// Done tells of a step whether an earlier process has brought it to its end.
	Done func(Step) bool
	// Begun tells when a step was begun first in this visit, zero if it was not; nil is that
	// none was.
	Begun func(Step) time.Time
	// Again tells that steps that failed are to be taken again as if they had not been tried.
	Again bool
}

// Machines is how an upgrade reaches the machines of its nodes. Its methods are
// called from several goroutines at a time.
type Machines interface {
	// Fetch loads what a machine needs for a visit: package lists, packages, images. It
	// changes nothing that runs, and may be repeated.
	Fetch(ctx context.Context, v Visit, out host.Output) error
	// Open returns what has to be done on the machine.
	Open(ctx context.Context, v Visit) (Procedure, error)
	// Members asks the members of etcd on nodes of the control plane whether each is well,
	// and says which are not: it takes part in a quorum, has all that was written, and knows
	// of no alarm. A node without a member has none that is not well.
	Members(ctx context.Context, run string, nodes []*corev1.Node) (problems []string, err error)
	// StepAside has another member of etcd lead if the one on the node's machine does, and
	// returns which; "" if there was nothing to do.
	StepAside(ctx context.Context, run string, node *corev1.Node) (to string, err error)
}

// Procedure is what brings one machine to one version. Its methods, and those of its
// steps, are called one at a time.
type Procedure interface {
	// Serving are the steps that are taken while the node has its pods, Empty those
	// that are taken when it is cordoned and drained, After those when it is Ready at its
	// version; all in their order.
	Serving() []MachineStep
	Empty() []MachineStep
	After() []MachineStep
	// Verify looks at what the machine really runs, and says what is not as it is to be;
	// it may become so in a moment. mirrored tells which hash the cluster has for a static
	// pod of the machine. The error says that it could not be looked at.
	Verify(ctx context.Context, mirrored func(component string) (hash string)) (problems []string, err error)
	// State says in a few words what the machine is at, for who has to mend it.
	State(ctx context.Context) (string, error)
	Close() error
}

// MachineStep is a step on one machine.
type MachineStep struct {
	// Name is the step's in the journal.
	Name Step
	// Text says what is done.
	Text string
	// Done looks whether there is nothing left to do. The error says that it could
	// not be looked at, and is asked again for a while.
	Done func(ctx context.Context) (bool, error)
	// Last steps are taken when everything else of the visit is proven.
	Last bool
	// Do does it. What it runs is begun only once, however often it is called, until it
	// has ended; an *OutcomeUnknownError says that it may not have ended, and Do is called
	// again. A *ServerAwayError says that it got nowhere for want of an API server. The
	// error may carry a hint.
	Do func(ctx context.Context, out host.Output) error
}

// OutcomeUnknownError says that the connection to a machine was lost in the middle
// of a step.
type OutcomeUnknownError struct{ Err error }

func (e *OutcomeUnknownError) Error() string { return e.Err.Error() }
func (e *OutcomeUnknownError) Unwrap() error { return e.Err }

// FinalError says that a step must not be taken again before a person has looked: its hint
// says at what.
type FinalError struct{ Err error }

func (e *FinalError) Error() string { return e.Err.Error() }
func (e *FinalError) Unwrap() error { return e.Err }

// ServerAwayError says that a program on the machine did not reach the API server: it may
// be tried again when that answers.
type ServerAwayError struct{ Err error }

func (e *ServerAwayError) Error() string { return e.Err.Error() }
func (e *ServerAwayError) Unwrap() error { return e.Err }
