// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/event"
)

// Kind says what a Record is about; it decides which fields are set.
type Kind string

const (
	// KindCreated opens every journal: Spec.
	KindCreated Kind = "created"
	// KindOpened says that a process took the run up: Process.
	KindOpened Kind = "opened"
	// KindStep is about one step of one node: Node, Step, State, and what the step has to remember.
	KindStep Kind = "step"
	// KindNodeDone ends a node well: Node.
	KindNodeDone Kind = "node-done"
	// KindNodeFailed says that a node could not be finished: Node, Step, Reason, Hint, Timeout.
	KindNodeFailed Kind = "node-failed"
	// KindNodeSkipped says that there is no such node any more: Node, Reason, Replaced.
	KindNodeSkipped Kind = "node-skipped"
	// KindStage is about what stands between the stages of a run: Stage, Step, State, Reason.
	KindStage Kind = "stage"
	// KindStopped says that a process left the run before its end: Result, Reason.
	KindStopped Kind = "stopped"
	// KindFinished closes a run of which every node was maintained, or is no more: Result.
	KindFinished Kind = "finished"
	// KindAborted closes a run that was given up: Reason.
	KindAborted Kind = "aborted"
)

// Step is one step of the maintenance of a node. They are taken in the order
// in which they stand here; a run has either StepCommand or StepReboot. StepSurge
// is there where something has to be surged, StepSoak where that was asked for.
// A drain may be interrupted by another StepSurge.
//
// An upgrade has steps on its machines, before the cordon and after the drain, whose
// names are those of package kubeadm; then StepMachine, which says that they are all
// done.
type Step string

const (
	StepCordon   Step = "cordon"
	StepSurge    Step = "surge"
	StepDrain    Step = "drain"
	StepCommand  Step = "command"
	StepReboot   Step = "reboot"
	StepReady    Step = "ready"
	StepUncordon Step = "uncordon"
	StepRecover  Step = "recover"
	StepSoak     Step = "soak"

	// StepRetreat takes a node back to where it was before its cordon: its drain stood still.
	StepRetreat Step = "retreat"

	// StepCreate and those below are of a worker that gives way to a new machine: that is
	// made, and joins; after the drain the old Node is deleted, and its machine removed.
	StepCreate  Step = "create-machine"
	StepJoin    Step = "join"
	StepDepart  Step = "delete-node"
	StepDispose Step = "delete-machine"
	// StepAbandon removes the new machine: the run is given up.
	StepAbandon Step = "abandon-machine"

	StepMachine    Step = "machine"
	StepVerify     Step = "verify"
	StepBeforeNode Step = "before-node" // hooks
	StepAfterNode  Step = "after-node"

	// StepBackup and those below are of a stage: etcd is saved before the first one, what it needs is fetched
	// ahead, the hooks, and the pause behind it.
	StepBackup      Step = "backup"
	StepFetch       Step = "fetch"
	StepBeforeStage Step = "before-stage"
	StepAfterStage  Step = "after-stage"
	StepPause       Step = "pause"
)

// State is where a step stands.
type State string

const (
	// Intent is recorded before a step acts: it may have been done, or not.
	Intent State = "intent"
	// Done is recorded after it.
	Done State = "done"
	// Lost is recorded after a command or a step of an upgrade that ran to its end and failed.
	Lost State = "failed"
	// Stuck is recorded after a step that failed and must not be taken again before a person
	// has looked.
	Stuck State = "stuck"
)

// Record is one line of a journal.
type Record struct {
	Seq  int       `json:"seq"` // 1 for the first
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`

	Spec    *Spec    `json:"spec,omitempty"`
	Process *Process `json:"process,omitempty"`

	Node  string `json:"node,omitempty"`
	Step  Step   `json:"step,omitempty"`
	State State  `json:"state,omitempty"`

	// Stage is the number of a stage, 1 for the first.
	Stage int `json:"stage,omitempty"`

	// Surges are the Deployments that are restarted before the drain.
	Surges []Surge `json:"surges,omitempty"`
	// Workloads are those with pods on the node when its drain began.
	Workloads []Workload `json:"workloads,omitempty"`
	// BootID is the one that the node had before the reboot that is asked for.
	BootID string `json:"bootID,omitempty"`
	// Machine is the new one that comes in the node's place, as far as it is known.
	Machine *Made `json:"machine,omitempty"`
	// Evicted is how many pods left the node, with a drain that is done.
	Evicted int `json:"evicted,omitempty"`

	Reason  string `json:"reason,omitempty"`
	Hint    string `json:"hint,omitempty"`
	Timeout bool   `json:"timeout,omitempty"` // the node did not fail: a wait was over
	// Replaced says of a node that is skipped that another one has its name.
	Replaced bool         `json:"replaced,omitempty"`
	Result   event.Result `json:"result,omitempty"`
}

// Process is who works on a run.
type Process struct {
	PID  int    `json:"pid"`
	Host string `json:"host"`
}

// Workload is a controller of pods on a node, as it was before the node was drained.
type Workload struct {
	Group     string    `json:"group,omitempty"`
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	// Healthy is how many of its pods were Ready and not terminating.
	Healthy int32 `json:"healthy"`
	// Read tells that the workload itself was read, and not only a reference to it.
	Read bool `json:"read,omitempty"`
}

// String returns Kind namespace/name.
func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

// A line of a journal is the record as a JSON object whose last member is the
// checksum of what stands before it: {"seq":1,...,"crc":"89abcdef"}. It is
// CRC-32C over the object without that member, so over `{"seq":1,...}`.
const (
	crcKey    = `,"crc":"`
	crcSuffix = len(crcKey) + 8 + len(`"}`)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the line of r, with its line end.
func encode(r Record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record %d: %w", r.Seq, err)
	}
	sum := checksum(body)
	return append(append(body[:len(body)-1], sum...), '\n'), nil
}

// checksum returns the last member for a record, with what closes the object.
func checksum(body []byte) []byte {
	return fmt.Appendf(nil, "%s%08x\"}", crcKey, crc32.Checksum(body, castagnoli))
}

// decodeLine reads one line, without its line end.
func decodeLine(line []byte) (Record, error) {
	var r Record
	if len(line) < crcSuffix {
		return r, errors.New("no checksum at its end")
	}
	body := append(bytes.Clone(line[:len(line)-crcSuffix]), '}')
	if want := checksum(body); !bytes.HasSuffix(line, want) {
		return r, fmt.Errorf("it does not end in its checksum, %s", want[1:len(want)-1])
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("not a record: %w", err)
	}
	return r, nil
}

// decode reads the records of a journal. A last line without a line end is
// what a write leaves that did not get to its end: the act it would have
// announced was not begun. It is left out and its length returned as torn. Any
// other line that is not what was written is damage, and an error.
func decode(data []byte) (records []Record, torn int, err error) {
	for line := 1; len(data) > 0; line++ {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			return records, len(data), nil
		}
		r, err := decodeLine(data[:end])
		if err == nil && r.Seq != line {
			err = fmt.Errorf("it has sequence number %d", r.Seq)
		}
		if err == nil && (line == 1) != (r.Kind == KindCreated && r.Spec != nil) {
			err = fmt.Errorf("a record of kind %q does not belong here", r.Kind)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("line %d is damaged: %w", line, err)
		}
		records = append(records, r)
		data = data[end+1:]
	}
	return records, 0, nil
}
