// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"slices"
	"time"

	"refit.dev/refit/event"
)

// Standing is where a node stands in a run, according to its journal.
type Standing string

const (
	// Waiting: nothing was done to the node.
	Waiting Standing = "waiting"
	// Begun: a step was begun, and the node is not finished.
	Begun Standing = "begun"
	// Maintained: the node went through every step.
	Maintained Standing = "done"
	// Failed: a step failed; the node stays as it is until the run is resumed or aborted.
	Failed Standing = "failed"
	// Skipped: the node was deleted, or replaced by another of its name.
	Skipped Standing = "skipped"
)

// NodeStatus is what a journal tells about one node.
type NodeStatus struct {
	Standing Standing `json:"standing"`
	// Step is the last one that was begun.
	Step Step `json:"step,omitempty"`
	// Visits is how many stages of the run are behind the node. What follows is about
	// the visit that it is in, but Evicted and Started.
	Visits int `json:"visits,omitempty"`
	// Steps are those that were begun, with where they stand.
	Steps map[Step]State `json:"steps,omitempty"`
	// begun is when each step was begun first, also before the turn was given back.
	begun map[Step]time.Time
	// Workloads and BootID are what the records of the drain and of the reboot remembered.
	Workloads []Workload `json:"workloads,omitempty"`
	BootID    string     `json:"bootID,omitempty"`
	// Machine is the new one that was asked for in the node's place.
	Machine *Made `json:"machine,omitempty"`
	// Surges are those of the last surge that was begun.
	Surges []Surge `json:"surges,omitempty"`
	// Soaking is since when the node soaks; zero before that.
	Soaking time.Time `json:"soaking,omitzero"`
	Evicted int       `json:"evicted,omitempty"`
	// Retreats is how often the node has given its turn back in this visit.
	Retreats int `json:"retreats,omitempty"`
	// Started and Ended are the times of the first step and of the node's end; zero before that.
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Reason and Hint are about a node that failed or was skipped; Timeout says that a wait was over.
	Reason  string `json:"reason,omitempty"`
	Hint    string `json:"hint,omitempty"`
	Timeout bool   `json:"timeout,omitempty"`
	// Replaced says of a skipped node that there is another one of its name.
	Replaced bool `json:"replaced,omitempty"`
}

// Phase says what has become of a run.
type Phase string

const (
	// PhaseRunning: a living process on this machine works on it.
	PhaseRunning Phase = "running"
	// PhaseStopped: its process left it in order; it can be resumed.
	PhaseStopped Phase = "stopped"
	// PhaseKilled: its process is gone and did not say so; it can be resumed.
	PhaseKilled Phase = "killed"
	// PhaseFinished and PhaseAborted runs are closed.
	PhaseFinished Phase = "finished"
	PhaseAborted  Phase = "aborted"
)

// Status is what the journal of a run adds up to.
type Status struct {
	Phase Phase `json:"phase"`
	Spec  *Spec `json:"spec"`
	// Nodes has an entry for every node of the Spec.
	Nodes map[string]*NodeStatus `json:"nodes"`
	// Stages are the steps between stages, by the number of the stage, 1 for the first.
	Stages map[int]map[Step]State `json:"stages,omitempty"`
	// Machines are those that the run has made, and those that it has to remove, if it replaces nodes.
	Machines []MachineEntry `json:"machines,omitempty"`
	// Process is the last one that took the run up.
	Process Process `json:"process,omitzero"`
	// Updated is the time of the last record.
	Updated time.Time `json:"updated"`
	// Result and Reason are those of the last process that ended in order.
	Result event.Result `json:"result,omitempty"`
	Reason string       `json:"reason,omitempty"`
}

// Closed tells whether there is nothing left to resume.
func (s *Status) Closed() bool { return s.Phase == PhaseFinished || s.Phase == PhaseAborted }

// Count returns how many nodes have that standing.
func (s *Status) Count(standing Standing) int {
	n := 0
	for _, node := range s.Nodes {
		if node.Standing == standing {
			n++
		}
	}
	return n
}

// statusOf adds up records, of which there is at least one. It does not know
// whether the last process still lives: Phase is PhaseKilled for a run that nobody left in order.
func statusOf(records []Record) *Status {
	s := &Status{Phase: PhaseKilled, Spec: records[0].Spec, Nodes: map[string]*NodeStatus{}}
	for _, n := range s.Spec.Nodes {
		s.Nodes[n.Name] = &NodeStatus{Standing: Waiting, Steps: map[Step]State{}}
	}
	for _, r := range records {
		s.add(r)
	}
	s.Machines = s.ledger()
	return s
}

func (s *Status) add(r Record) {
	s.Updated = r.Time
	switch r.Kind {
	case KindOpened:
		s.Phase, s.Result, s.Reason = PhaseKilled, "", ""
		if r.Process != nil {
			s.Process = *r.Process
		}
		for _, n := range s.Nodes {
			if n.Standing == Failed { // resuming is trying again
				n.Standing, n.Reason, n.Hint, n.Timeout, n.Ended = Begun, "", "", false, time.Time{}
			}
		}
	case KindStage:
		if s.Stages == nil {
			s.Stages = map[int]map[Step]State{}
		}
		if s.Stages[r.Stage] == nil {
			s.Stages[r.Stage] = map[Step]State{}
		}
		s.Stages[r.Stage][r.Step] = r.State
	case KindStopped:
		s.Phase, s.Result, s.Reason = PhaseStopped, r.Result, r.Reason
	case KindFinished:
		s.Phase, s.Result, s.Reason = PhaseFinished, r.Result, r.Reason
	case KindAborted:
		s.Phase, s.Reason = PhaseAborted, r.Reason
	}
	if n := s.Nodes[r.Node]; n != nil {
		n.add(r)
		if r.Kind == KindNodeDone && n.Visits < len(s.Spec.visits(r.Node)) {
			*n = NodeStatus{Standing: Waiting, Steps: map[Step]State{}, Visits: n.Visits, Evicted: n.Evicted, Started: n.Started}
		}
	}
}

func (n *NodeStatus) add(r Record) {
	switch r.Kind {
	case KindStep:
		n.Standing, n.Step, n.Steps[r.Step] = Begun, r.Step, r.State
		if _, before := n.begun[r.Step]; !before && r.State == Intent {
			if n.begun == nil {
				n.begun = map[Step]time.Time{}
			}
			n.begun[r.Step] = r.Time
		}
		if n.Started.IsZero() {
			n.Started = r.Time
		}
		// What was so before the first attempt is what counts: a second one finds the node half drained, or rebooted.
		if r.Step == StepDrain && r.State == Intent {
			n.Workloads = append(n.Workloads, others(n.Workloads, r.Workloads)...)
		}
		if r.Step == StepReboot && r.State == Intent && n.BootID == "" {
			n.BootID = r.BootID
		}
		if r.Step == StepSurge && r.State == Intent {
			n.Surges = r.Surges
		}
		if r.Machine != nil {
			n.Machine = r.Machine
		}
		if r.Step == StepSoak && r.State == Intent && n.Soaking.IsZero() {
			n.Soaking = r.Time
		}
		n.Evicted += r.Evicted
		if r.Step == StepRetreat && r.State == Done {
			// What was done before the cordon stays done: hooks, and kubeadm.
			n.Standing = Waiting
			for _, undone := range []Step{StepCordon, StepSurge, StepDrain, StepRetreat} {
				delete(n.Steps, undone)
			}
			n.Retreats++
		}
	case KindNodeDone:
		n.Standing, n.Ended = Maintained, r.Time
		n.Visits++
	case KindNodeFailed:
		n.Standing, n.Ended = Failed, r.Time
		n.Reason, n.Hint, n.Timeout = r.Reason, r.Hint, r.Timeout
	case KindNodeSkipped:
		n.Standing, n.Ended, n.Reason, n.Replaced = Skipped, r.Time, r.Reason, r.Replaced
	}
}

// others returns those of workloads that are not among known.
func others(known, workloads []Workload) []Workload {
	return slices.DeleteFunc(slices.Clone(workloads), func(w Workload) bool {
		return slices.ContainsFunc(known, func(k Workload) bool { return k.UID == w.UID })
	})
}
