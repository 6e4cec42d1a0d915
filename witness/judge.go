// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// explain finds for each disruption the request that caused it. The disruptions
// that nobody asked for, as far as the asks tell, are returned: more of the audit
// log has to be read.
func explain(disruptions []*disruption, asks []ask) (by map[*disruption]*ask, open []*disruption) {
	by = map[*disruption]*ask{}
	ofUID, ofName := map[types.UID]*disruption{}, map[string][]*disruption{}
	for _, d := range disruptions {
		ofUID[d.pod.UID] = d
		ofName[name(d.pod)] = append(ofName[name(d.pod)], d)
	}
	// A line is written when its request is done with: that of a deletion may come
	// after the line of the kubelet that saw its effect.
	asks = slices.SortedStableFunc(slices.Values(asks), func(a, b ask) int { return a.received.Compare(b.received) })
	for i := range asks {
		a := &asks[i]
		if !a.accepted {
			continue
		}
		for _, d := range a.targets(ofUID, ofName, by) {
			if a.hurries(d) {
				continue
			}
			// An accepted eviction marks its pod before it begins to end. Among
			// requests that fit the mark the first one began it: later ones hurry
			// what goes on, as a kubelet does that deletes a pod which has ended.
			if by[d] == nil || (by[d].eviction != d.marked && a.eviction == d.marked) {
				by[d] = a
			}
		}
	}
	for _, d := range disruptions {
		if by[d] == nil {
			open = append(open, d)
		}
	}
	return by, open
}

// hurries tells whether a came when the pod was ending already: it asks for another
// grace period than that with which the pod began to end, as a kubelet does (with
// 0) once the containers have ended. Its line may be in the log before that of the
// request that began it all. A pod that runs nowhere gets 0, whatever was asked
// for, and one less than 0 counts as 1 (CheckGracefulDelete in
// pkg/registry/core/pod/strategy.go of Kubernetes).
func (a *ask) hurries(d *disruption) bool {
	began := ptr.Deref(d.pod.DeletionGracePeriodSeconds, 0)
	if a.grace == nil || began == 0 {
		return false
	}
	asked := *a.grace
	if asked < 0 {
		asked = 1
	}
	return asked != began
}

// targets are the disruptions that a may have caused. Only an eviction without
// a UID leaves a doubt: then it is the first of that name that bears the mark of
// the Eviction API and that no other request explains.
func (a *ask) targets(ofUID map[types.UID]*disruption, ofName map[string][]*disruption, by map[*disruption]*ask) []*disruption {
	var out []*disruption
	for _, uid := range a.uids {
		if d := ofUID[uid]; d != nil {
			out = append(out, d)
		}
	}
	if len(a.uids) > 0 || !a.eviction {
		return out
	}
	for _, d := range ofName[a.namespace+"/"+a.name] {
		if d.marked && by[d] == nil {
			return []*disruption{d}
		}
	}
	return nil
}

// contradictions are accepted requests to end a pod that, by what the watches
// saw, goes on as if nothing had happened.
func (r *replay) contradictions(asks []ask) error {
	var errs []error
	for _, a := range asks {
		for _, uid := range a.uids {
			if pod := r.world.pods[uid]; a.accepted && pod != nil && !ending(pod) {
				errs = append(errs, fmt.Errorf("the audit log says that %s ended pod %s, the watch saw nothing of it", a.user, name(pod)))
			}
		}
	}
	return errors.Join(errs...)
}

// judge makes the verdict of what was seen and of who asked for it.
func (r *replay) judge(by map[*disruption]*ask, asks []ask) (*Verdict, error) {
	v := &Verdict{Replicas: r.replicas, Busiest: r.busiest, BusiestZones: r.busiestZones(), Dips: r.dips, Lapses: r.lapses}
	moves := map[string]int{}
	var errs []error
	for _, d := range r.disruptions {
		a := by[d]
		how := Deletion
		switch {
		case a.eviction: // whoever asked: nobody has to evict
			how = Eviction
			v.Evictions++
			moves[d.workload]++
		case a.voluntary:
			v.Deletions = append(v.Deletions, Ended{Time: d.time, Pod: name(d.pod), By: a.user})
		default:
			continue
		}
		if q := d.quorum; q != nil && d.healthy && q.broken {
			v.BrokenQuorums = append(v.BrokenQuorums, QuorumBreach{
				Time: d.time, Set: q.set, Pod: name(d.pod), By: a.user, How: how, Healthy: q.healthy, Replicas: q.replicas,
			})
		}
		for _, b := range d.budgets {
			switch {
			case b.err != nil && d.healthy:
				errs = append(errs, b.err)
			case d.healthy && b.healthy < b.required:
				v.Broken = append(v.Broken, Breach{
					Time: d.time, Budget: b.budget, Pod: name(d.pod), By: a.user, How: how,
					Healthy: b.healthy, Required: b.required,
				})
			}
		}
	}
	for _, a := range asks {
		if a.eviction && a.voluntary && a.code == 429 {
			v.Refused++
		}
	}
	for _, h := range r.nodes {
		v.Nodes = append(v.Nodes, *h)
	}
	slices.SortFunc(v.Nodes, func(a, b NodeHistory) int { return strings.Compare(a.Name, b.Name) })
	for workload, n := range moves {
		v.Moves = append(v.Moves, Moves{workload, n})
	}
	slices.SortFunc(v.Moves, func(a, b Moves) int { return strings.Compare(a.Workload, b.Workload) })
	return v, errors.Join(errs...)
}
