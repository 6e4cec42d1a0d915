// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"regexp"
	"strings"

	"refit.dev/refit/host"
)

// Stage is when a step's turn comes.
type Stage string

// The stages, in order.
const (
	// Ahead changes nothing that runs; it can be taken on all hosts at once.
	Ahead Stage = "ahead"
	// Turn is the node's turn, before it is drained.
	Turn Stage = "turn"
	// Empty is after the drain. An upgrade within one minor does not need the drain.
	Empty Stage = "empty"
	// After is when the node runs the version.
	After Stage = "after"
)

// StepName names a step; it is stable.
type StepName string

// The steps, in order.
const (
	StepRepository StepName = "repository"
	StepLists      StepName = "lists"
	StepDownload   StepName = "download"
	StepKubeadm    StepName = "kubeadm"
	StepImages     StepName = "images"
	StepManifests  StepName = "manifests"
	StepUpgrade    StepName = "upgrade"
	StepKubelet    StepName = "kubelet"
	StepRestart    StepName = "restart"
	StepHolds      StepName = "holds"
	StepClean      StepName = "clean"
)

// Step is one thing to do on a host. It is a value without ties to the host.
type Step struct {
	Name  StepName
	Stage Stage
	// Words say what it will do, without a subject: "install kubeadm 1.37.2-1.1".
	Words string
	// Changes are the parts of the State that it may change: what to look at again
	// after it.
	Changes Parts

	target  Target
	done    func(State) bool
	actions func(State) ([]Action, error)
}

// Done tells whether nothing is left to do, by a State in which the parts of Changes
// were looked at. What was not looked at is not done.
func (s Step) Done(observed State) bool { return s.done(observed) }

// Actions returns what the step does on a host of that State, in order. The error is
// a *Failure: the step cannot be taken, and nothing was changed.
func (s Step) Actions(observed State) ([]Action, error) { return s.actions(observed) }

// Action is one command on a host, or one file to be written.
type Action struct {
	// Unit is the name of the unit as which the command runs, so that it goes on if the
	// connection or refit is lost; empty for commands that are short and may simply run
	// again.
	Unit string
	// Argv is the command; empty if a file is written.
	Argv []string
	Env  []string

	// Path is the file to be changed, Keep where its content before is kept, Note what
	// is changed, in words.
	Path, Keep, Note string

	edit func(content string) (string, error)
	// once tells that the command need not run again if its unit has run to its end.
	once bool
}

// String is the action as a shell would take it, or a comment.
func (a Action) String() string {
	if a.Path != "" {
		return "# " + a.Path + ": " + a.Note
	}
	if len(a.Argv) == 3 && a.Argv[0] == shell {
		return a.Argv[2]
	}
	return shellLine(a.Argv)
}

// Steps returns what moves the host of the State to the target, in order. Which of
// the steps are done already is told by each. Every step can be asked of any State;
// observed serves for their Words alone.
func Steps(t Target, observed State) []Step {
	steps := []Step{
		t.repository(observed),
		t.lists(),
		t.download(),
		t.kubeadm(),
		t.images(),
	}
	if t.Role.controlPlane() {
		steps = append(steps, t.manifests())
	}
	steps = append(steps, t.upgrade(), t.kubelet(), t.restart(), t.holds())
	if t.Clean && t.Role.controlPlane() {
		steps = append(steps, t.clean())
	}
	for i := range steps {
		steps[i].target = t
	}
	return steps
}

// Commands returns the actions of the steps that are not done on a host of that
// State, each with its step, as far as they are known now: what depends on a step
// before it is what it will be if nothing else changes.
func Commands(t Target, observed State) ([]Planned, error) {
	var all []Planned
	for _, step := range Steps(t, observed) {
		if step.Done(observed) {
			continue
		}
		actions, err := step.Actions(observed)
		if err != nil {
			return nil, err
		}
		all = append(all, Planned{Step: step, Actions: actions})
	}
	return all, nil
}

// Planned is a step that is to be taken, with its actions.
type Planned struct {
	Step    Step
	Actions []Action
}

const shell = "/bin/sh"

var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+:,./_=-]+$`)

// shellLine is argv as a line of a POSIX shell: as host.Quote, but only words that need
// it are quoted, as people do.
func shellLine(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = word
		if !plainWord.MatchString(word) || i == 0 && strings.Contains(word, "=") {
			words[i] = host.Quote(word)
		}
	}
	return strings.Join(words, " ")
}
