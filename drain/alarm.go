// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"container/heap"
	"time"
)

// alarm is something to look at again at a certain time. What rings finds out
// by itself whether there is still a reason.
type alarm struct {
	at   time.Time
	ring func()
}

// alarms is a heap, the next alarm first.
type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }

// Push is for package heap.
func (a *alarms) Push(x any) { *a = append(*a, x.(alarm)) }

// Pop is for package heap.
func (a *alarms) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*a = old[:len(old)-1]
	return last
}

func (a *alarms) set(at time.Time, ring func()) { heap.Push(a, alarm{at, ring}) }

// next returns the time of the next alarm.
func (a alarms) next() (time.Time, bool) {
	if len(a) == 0 {
		return time.Time{}, false
	}
	return a[0].at, true
}

// ring rings and drops all alarms that are due.
func (a *alarms) ring(now time.Time) {
	for len(*a) > 0 && !(*a)[0].at.After(now) {
		heap.Pop(a).(alarm).ring()
	}
}
