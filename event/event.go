// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"strings"
	"time"
)

// Type says what kind of thing happened; it decides which fields of an Event are set.
type Type string

const (
	// RunStarted opens a run: Run, Nodes.
	RunStarted Type = "run-started"
	// NodePhase reports that a node entered a phase: Node, Phase, Message; Pods with PhaseDraining.
	NodePhase Type = "node-phase"
	// NodeCordoned and NodeUncordoned report a change of spec.unschedulable: Node.
	NodeCordoned   Type = "node-cordoned"
	NodeUncordoned Type = "node-uncordoned"
	// NodeDrained reports that every pod that had to leave a node is gone: Node, Counts, Seconds.
	NodeDrained Type = "node-drained"
	// NodeOutOfService and NodeInService report that refit set and removed the taint node.kubernetes.io/out-of-service: Node, Message.
	NodeOutOfService Type = "node-out-of-service"
	NodeInService    Type = "node-in-service"
	// NodeFailed reports that a node could not be finished and stays cordoned: Node, Message, Hint.
	NodeFailed Type = "node-failed"
	// PodSkipped reports a pod that is not evicted, by rule: Node, Pod, Reason, Message. It stays, unless the Reason is out-of-service.
	PodSkipped Type = "pod-skipped"
	// PodEvicted reports an accepted eviction (or deletion, with --disable-eviction): Node, Pod. With the Reason out-of-service
	// nobody has asked the Eviction API: the taint of the node has the pod deleted. With dry-run nothing has happened.
	PodEvicted Type = "pod-evicted"
	// PodBlocked reports a pod that has to wait, once for each change of cause: Node, Pod, Blocker.
	PodBlocked Type = "pod-blocked"
	// PodGone reports that a pod left its node for good: Node, Pod, Seconds since its eviction.
	PodGone Type = "pod-gone"
	// PodPlaced reports where a pod was bound that a workload of the run has made since the run began: Node, Pod,
	// Workload. It stands in the history of a run alone.
	PodPlaced Type = "pod-placed"
	// BudgetChanged reports the numbers of a budget of the run's pods, when a process begins and whenever they
	// change: Budget. It stands in the history of a run alone.
	BudgetChanged Type = "budget-changed"
	// CommandOutput is one line that a command on a node wrote: Node, Message.
	CommandOutput Type = "command-output"
	// APILost and APIBack report that the API server stopped answering while a control plane was worked on, and that it
	// answers again: Node, Message; Seconds of the outage with APIBack. Time is that of the first request that failed, and of
	// the first one after it that was answered.
	APILost Type = "api-lost"
	APIBack Type = "api-back"
	// ServiceLost and ServiceBack report that a Service that is asked all through an upgrade does not answer, and that it answers
	// again: Node, from which it was asked, Probe with its Service, Message; Seconds of the outage with ServiceBack. Time is as
	// with APILost. ServiceProbed says at the end what came of all requests: Probe, Message.
	ServiceLost   Type = "service-lost"
	ServiceBack   Type = "service-back"
	ServiceProbed Type = "service-probed"
	// BackingUp and BackedUp report that etcd is saved, and that the snapshot is proven: Message; Seconds with BackedUp.
	BackingUp Type = "backing-up"
	BackedUp  Type = "backed-up"
	// Fetching and Fetched report that machines load ahead what they will need: Nodes, Message; Seconds with Fetched.
	Fetching Type = "fetching"
	Fetched  Type = "fetched"
	// StageStarted and StageDone report that the nodes of a stage may be begun, and that all are finished: Nodes, Message.
	StageStarted Type = "stage-started"
	StageDone    Type = "stage-done"
	// Raising reports how the version of a control plane that somebody else runs gets on: Message.
	Raising Type = "raising"
	// Restoring reports a phase of a restore of etcd, which begins on all of its machines: Nodes, Message.
	Restoring Type = "restoring"
	// ObjectApplied reports what became of an object that was imported: Object, Reason (created, configured or unchanged).
	ObjectApplied Type = "object-applied"
	// ObjectFailed reports an object that could not be imported: Object, Message, Hint.
	ObjectFailed Type = "object-failed"
	// Warning is anything that a person should read and that stops nothing: Message, Hint; Node or Pod if it is about one.
	Warning Type = "warning"
	// Summary is the last event of every long operation: Result, Counts, Seconds, Remaining; Objects, Files and ResourceVersion
	// with an export or import.
	Summary Type = "summary"
)

// ReasonAllowed is the Reason of a Warning about a loss that the operator has
// allowed by a flag: pods that nobody would replace, local data.
const ReasonAllowed = "allowed"

// ReasonOutOfService is the Reason of PodEvicted and PodSkipped events of pods that
// nobody asks for: the taint of their node has them deleted, past their budgets.
const ReasonOutOfService = "out-of-service"

// The Reasons of ObjectApplied say what an import has done to an object.
const (
	ReasonCreated    = "created"
	ReasonConfigured = "configured"
	ReasonUnchanged  = "unchanged"
)

// Phase is where a node stands in its maintenance.
type Phase string

const (
	PhasePending    Phase = "pending"     // not started yet
	PhaseCordoning  Phase = "cordoning"   // being marked unschedulable
	PhasePreparing  Phase = "preparing"   // the machine is worked on, and the node still has its pods
	PhaseSurging    Phase = "surging"     // waiting for replacements of pods that can never be evicted
	PhaseDraining   Phase = "draining"    // pods are leaving
	PhaseRetreating Phase = "retreating"  // its drain stood still: it is uncordoned, and waits for another turn
	PhaseWorking    Phase = "working"     // the command or the reboot is under way
	PhaseReadying   Phase = "readying"    // waiting for the node to be Ready
	PhaseVerifying  Phase = "verifying"   // what the machine really runs is looked at
	PhaseUncordon   Phase = "uncordoning" // being marked schedulable again
	PhaseRecovering Phase = "recovering"  // waiting for the evicted workloads to be back
	PhaseSoaking    Phase = "soaking"     // done, and its slot not free yet
	PhaseDone       Phase = "done"
	PhaseFailed     Phase = "failed"
)

// Pod names a pod of a certain identity: a pod recreated under the same name has another UID.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
}

// String returns namespace/name.
func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// Cause says what keeps a pod on its node.
type Cause string

const (
	// CauseBudget: the pod's budget allows no disruption now.
	CauseBudget Cause = "budget"
	// CauseBudgetUnobserved: the disruption controller has not looked at the budget's newest generation yet.
	CauseBudgetUnobserved Cause = "budget-unobserved"
	// CauseTwoBudgets: more than one budget selects the pod; the Eviction API refuses such pods for ever.
	CauseTwoBudgets Cause = "two-budgets"
	// CauseQuorum: another member of the pod's quorum set, a StatefulSet of 3 to 9 replicas, is away.
	CauseQuorum Cause = "quorum"
	// CauseFinalizer: the pod is deleted and waits for its finalizers.
	CauseFinalizer Cause = "finalizer"
	// CauseKubelet: the pod is deleted and its node's kubelet does not answer.
	CauseKubelet Cause = "kubelet"
	// CauseTerminating: the pod is deleted and within its grace period.
	CauseTerminating Cause = "terminating"
	// CauseVolume: the pod is gone and a volume of it is still attached to the node.
	CauseVolume Cause = "volume"
	// CauseNoRoom: the pod's replacement fits on no other node at present.
	CauseNoRoom Cause = "no-room"
	// CauseThrottled: the API server asked for patience (429 that is not about a budget).
	CauseThrottled Cause = "throttled"
	// CauseQueued: the pod's turn has not come yet.
	CauseQueued Cause = "queued"
	// CauseRefused: the rules of the drain neither let the pod go nor stay.
	CauseRefused Cause = "refused"
	// CauseError: the API server answered with an error that is retried.
	CauseError Cause = "error"
)

// Blocker explains why a pod is still there. Text fields are ready to be read;
// the numbers are those of the budget's status at the time.
type Blocker struct {
	Cause   Cause    `json:"cause"`
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
	Budgets []Budget `json:"budgets,omitempty"`
}

// Budget is a PodDisruptionBudget as it stood when it was in the way.
type Budget struct {
	Namespace          string `json:"namespace"`
	Name               string `json:"name"`
	DisruptionsAllowed int32  `json:"disruptionsAllowed"`
	CurrentHealthy     int32  `json:"currentHealthy"`
	DesiredHealthy     int32  `json:"desiredHealthy"`
	ExpectedPods       int32  `json:"expectedPods"`
	// Unready are the pods of the budget that are not healthy and so use it up, sorted.
	Unready []string `json:"unready,omitempty"`
}

// Probe is what came of asking a Service.
type Probe struct {
	Service        string  `json:"service"`                  // namespace/name
	Requests       int     `json:"requests,omitempty"`       // how many were sent, each over a new connection
	Failed         int     `json:"failed,omitempty"`         // how many of them were not answered
	LongestSeconds float64 `json:"longestSeconds,omitempty"` // the longest time without an answer
}

// Counts adds up what happened to pods. A pod that the run touched counts once, at its last state.
type Counts struct {
	Evicted int `json:"evicted"` // evictions accepted
	Gone    int `json:"gone"`    // evicted pods that really left
	Skipped int `json:"skipped"` // stay by rule (DaemonSet, mirror pods, ...)
	Blocked int `json:"blocked"` // still there although they should not be
}

// Result is how a long operation ended. Each one goes with an exit code of the command line.
type Result string

const (
	ResultDone       Result = "done"       // 0
	ResultFailed     Result = "failed"     // 1
	ResultBlocked    Result = "blocked"    // 3: not safe, nothing was changed
	ResultUnfinished Result = "unfinished" // 4: consistent, can be resumed
)

// Remaining is a pod that an unfinished operation leaves behind, and why.
type Remaining struct {
	Node    string  `json:"node"`
	Pod     Pod     `json:"pod"`
	Blocker Blocker `json:"blocker"`
}

// Object names an object of any kind.
type Object struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String is what kubectl can be given: kind.group/name, and -n namespace.
func (o Object) String() string {
	text := strings.ToLower(o.Kind)
	if o.Group != "" {
		text += "." + o.Group
	}
	text += "/" + o.Name
	if o.Namespace != "" {
		text += " -n " + o.Namespace
	}
	return text
}

// Event is one thing that happened. Fields that a Type does not use are zero and left out of the JSON.
type Event struct {
	Time      time.Time   `json:"time"`               // RFC 3339, with fractions of a second
	Type      Type        `json:"type"`               // what happened
	Run       string      `json:"run,omitempty"`      // the run that it belongs to; none for a plain drain
	Node      string      `json:"node,omitempty"`     // the node that it is about
	Nodes     []string    `json:"nodes,omitempty"`    // the nodes of a run
	Phase     Phase       `json:"phase,omitempty"`    // the phase that was entered
	Pods      int         `json:"pods,omitempty"`     // how many pods have to leave the node
	Pod       *Pod        `json:"pod,omitempty"`      // the pod that it is about
	Object    *Object     `json:"object,omitempty"`   // the object that it is about, of any kind
	Workload  string      `json:"workload,omitempty"` // what controls the pod: kind, namespace/name; in the history of a run alone
	Budget    *Budget     `json:"budget,omitempty"`   // the budget as it is now
	Probe     *Probe      `json:"probe,omitempty"`    // the Service that is asked, and how it answered
	Slots     int         `json:"slots,omitempty"`    // how many nodes may be out at once; in the history of a run alone
	Reason    string      `json:"reason,omitempty"`   // by which rule, in one word
	Message   string      `json:"message,omitempty"`  // ready to be read
	Hint      string      `json:"hint,omitempty"`     // what can be done about it
	Blocker   *Blocker    `json:"blocker,omitempty"`  // why the pod is still there
	Result    Result      `json:"result,omitempty"`   // how it ended
	*Counts               // evicted, gone, skipped, blocked at the top level
	Seconds   float64     `json:"seconds,omitempty"`   // wall time of what the event closes
	Remaining []Remaining `json:"remaining,omitempty"` // the pods left behind, and why
	// Objects and Files count those of an export or import by what became of them: exported, or the reason to leave an object
	// out; created, configured, unchanged, failed; new, changed, unchanged, removed, kept.
	Objects map[string]int `json:"objects,omitempty"`
	Files   map[string]int `json:"files,omitempty"`
	// ResourceVersion is the one that an export was read at.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// Sink takes events. Implementations are safe for concurrent use and do not block
// for long: whoever emits is at work.
type Sink interface {
	Emit(Event)
}

// SinkFunc makes a Sink of a function that is safe for concurrent use.
type SinkFunc func(Event)

// Emit calls f.
func (f SinkFunc) Emit(e Event) { f(e) }

// Discard is a Sink for those who do not want to know.
var Discard Sink = SinkFunc(func(Event) {})

// Tee emits every event to each of sinks, in their order.
func Tee(sinks ...Sink) Sink {
	return SinkFunc(func(e Event) {
		for _, s := range sinks {
			s.Emit(e)
		}
	})
}
