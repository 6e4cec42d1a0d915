// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"fmt"
	"time"
)

// Verdict is what the witness saw.
type Verdict struct {
	// Broken are the moments at which a budget was broken, in order.
	Broken []Breach `json:"broken"`
	// Dips are the times at which a budget had less than it requires, whoever
	// was the cause, those that Broken began included.
	Dips []Dip `json:"dips"`
	// BrokenQuorums are the moments at which a second member was taken out of a
	// quorum set, a StatefulSet of 3 to 9 replicas, in order; Lapses the times at
	// which two or more were away together, whoever was the cause.
	BrokenQuorums []QuorumBreach `json:"brokenQuorums"`
	Lapses        []Lapse        `json:"lapses"`
	// Evictions is how many pods were evicted, Refused how many evictions were
	// answered 429.
	Evictions int `json:"evictions"`
	Refused   int `json:"refused"`
	// Deletions are the pods that were deleted by somebody other than the control
	// plane, around the Eviction API.
	Deletions []Ended `json:"deletions"`
	// Replicas is how many pods there were at the beginning that maintenance of
	// their node has to move; Moves is how often a pod of each workload was evicted.
	Replicas int     `json:"replicas"`
	Moves    []Moves `json:"moves"`
	// Busiest is the moment at which most nodes were out.
	Busiest Busiest `json:"busiest"`
	// BusiestZones is the same for each zone, by name.
	BusiestZones []BusiestZone `json:"busiestZones"`
	// Nodes are the histories of all nodes, by name.
	Nodes []NodeHistory `json:"nodes"`
}

// How says in which way a pod was made to end.
type How string

const (
	Eviction How = "eviction" // by the Eviction API
	Deletion How = "deletion" // around it
)

// Breach is a voluntary disruption that broke a budget.
type Breach struct {
	Time   time.Time `json:"time"`
	Budget string    `json:"budget"` // namespace/name
	Pod    string    `json:"pod"`    // namespace/name
	By     string    `json:"by"`     // user
	How    How       `json:"how"`
	// Healthy is how many pods were left, Required how many there should have been.
	Healthy  int `json:"healthy"`
	Required int `json:"required"`
}

// Dip is a time at which a budget had less healthy pods than it requires.
type Dip struct {
	Budget   string    `json:"budget"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"` // zero if it lasted to the end
	Lowest   int       `json:"lowest"`
	Required int       `json:"required"`
}

// Ended is a pod that somebody deleted.
type Ended struct {
	Time time.Time `json:"time"`
	Pod  string    `json:"pod"`
	By   string    `json:"by"`
}

// Moves is how often pods of a workload were evicted.
type Moves struct {
	Workload  string `json:"workload"` // Kind namespace/name
	Evictions int    `json:"evictions"`
}

// BrokenBudgets returns how many budgets were broken at least once.
func (v *Verdict) BrokenBudgets() int {
	budgets := map[string]bool{}
	for _, b := range v.Broken {
		budgets[b.Budget] = true
	}
	return len(budgets)
}

// MovesPerPod returns how many evictions there were for each pod that had to
// move; 1 is the least that maintenance of all nodes can do with.
func (v *Verdict) MovesPerPod() float64 {
	if v.Replicas == 0 {
		return 0
	}
	return float64(v.Evictions) / float64(v.Replicas)
}

// Maintained returns how many nodes were cordoned, rebooted once and given back.
func (v *Verdict) Maintained() int {
	n := 0
	for i := range v.Nodes {
		if v.Nodes[i].Maintained() {
			n++
		}
	}
	return n
}

// Faults says in sentences what must not happen during maintenance and did,
// nothing if all is well: broken budgets and quorums, pods deleted around the Eviction API,
// nodes that went down with pods on them, that rebooted more than once, or that
// were left cordoned by who cordoned them.
func (v *Verdict) Faults() []string {
	var out []string
	for _, b := range v.Broken {
		out = append(out, fmt.Sprintf("budget %s was broken: the %s of pod %s by %s left %d healthy pods, %d are required",
			b.Budget, b.How, b.Pod, b.By, b.Healthy, b.Required))
	}
	for i := range v.BrokenQuorums {
		out = append(out, v.BrokenQuorums[i].fault())
	}
	for _, d := range v.Deletions {
		out = append(out, fmt.Sprintf("pod %s was deleted by %s, around the Eviction API", d.Pod, d.By))
	}
	for _, h := range v.Nodes {
		for _, pod := range h.CaughtPods {
			out = append(out, fmt.Sprintf("node %s went down with pod %s on it", h.Name, pod))
		}
		if h.Reboots > 1 {
			out = append(out, fmt.Sprintf("node %s rebooted %d times", h.Name, h.Reboots))
		}
		if h.Cordons > 0 && h.Cordoned && !h.Deleted {
			out = append(out, fmt.Sprintf("node %s was left cordoned", h.Name))
		}
	}
	return out
}
