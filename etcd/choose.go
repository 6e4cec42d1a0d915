// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"refit.dev/refit/internal/hint"
)

// maxLag is how many entries of the log a member may be behind the one that has applied
// most, and still count as caught up: what is written while one member is asked after the
// other. etcd sends a follower that is 5,000 behind a snapshot instead of the log
// (go.etcd.io/etcd/server/v3/etcdserver, DefaultSnapshotCatchUpEntries).
const maxLag = 1000

// Candidate is a member that may give a snapshot, and what it says of itself.
type Candidate struct {
	// Endpoint is where it was asked.
	Endpoint string
	// Err is why it did not answer; nothing below is known then.
	Err error

	ID      uint64
	Name    string
	Cluster uint64
	Version string
	// Leader is the ID of the leader, 0 if it sees none.
	Leader  uint64
	Learner bool
	// Applied is the index of the last entry of the log that it has applied.
	Applied uint64
	// Corrupt says that the alarm CORRUPT was raised for it.
	Corrupt bool
	// Full says that the alarm NOSPACE was raised, for any member: nothing can be written.
	Full bool
	Size int64 // of the database, in bytes
}

// choose picks who gives a snapshot: a member that sees a leader, is no learner, is not
// corrupt and has caught up; a follower rather than the leader, which has more to do; then
// the one that has applied most, then the first by its endpoint. The error names each
// candidate and what is wrong with it.
func choose(candidates []Candidate) (Candidate, error) {
	most := uint64(0)
	for _, c := range candidates {
		if c.Err == nil {
			most = max(most, c.Applied)
		}
	}
	var fit []Candidate
	var wrong []string
	clusters := map[uint64]string{}
	for _, c := range candidates {
		if c.Err == nil {
			clusters[c.Cluster] = c.Endpoint
		}
		if why := c.unfit(most); why != "" {
			wrong = append(wrong, fmt.Sprintf("%s %s", c.Endpoint, why))
			continue
		}
		fit = append(fit, c)
	}
	switch {
	case len(clusters) > 1:
		return Candidate{}, hint.Wrap(errors.New("the endpoints belong to different clusters"), "give the endpoints of one cluster")
	case len(fit) == 0:
		return Candidate{}, hint.Wrap(fmt.Errorf("no member of etcd can give a snapshot: %s", strings.Join(wrong, "; ")),
			"see that etcd is well there, or name another member with --endpoints")
	}
	return slices.MinFunc(fit, func(a, b Candidate) int {
		return cmp.Or(boolean(a.ID == a.Leader, b.ID == b.Leader), cmp.Compare(b.Applied, a.Applied), cmp.Compare(a.Endpoint, b.Endpoint))
	}), nil
}

// unfit says why a candidate may not give a snapshot.
func (c Candidate) unfit(most uint64) string {
	switch {
	case c.Err != nil:
		return fmt.Sprintf("does not answer (%v)", c.Err)
	case c.Learner:
		return "is a learner"
	case c.Corrupt:
		return "has the alarm CORRUPT"
	case c.Leader == 0:
		return "sees no leader"
	case most-c.Applied > maxLag:
		return fmt.Sprintf("is %d entries behind", most-c.Applied)
	}
	return ""
}

// boolean orders false before true.
func boolean(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
