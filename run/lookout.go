// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
)

// topic is what can be waited for: a node by its name, the pods on it likewise, a
// workload by its UID, or anything at all.
type topic struct {
	kind cluster.Kind
	key  string
}

func anything() topic                   { return topic{} }
func nodeTopic(name string) topic       { return topic{cluster.KindNode, name} }
func podsTopic(node string) topic       { return topic{cluster.KindPod, node} }
func workloadTopic(uid types.UID) topic { return topic{cluster.KindWorkload, string(uid)} }
func workloadTopics(ws []Workload) (ts []topic) {
	for _, w := range ws {
		ts = append(ts, workloadTopic(w.UID))
	}
	return ts
}

// lookout wakes those who wait for something of the cluster as soon as it has
// changed. They look at that thing alone, so that what they see never waits for
// a picture of the whole cluster.
type lookout struct {
	clock clock.WithTicker

	mu      sync.Mutex
	waiting map[topic]map[chan struct{}]bool
}

func newLookout(clk clock.WithTicker) *lookout {
	return &lookout{clock: clk, waiting: map[topic]map[chan struct{}]bool{}}
}

// tell wakes who waits for one of topics.
func (l *lookout) tell(topics ...topic) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range topics {
		for bell := range l.waiting[t] {
			select {
			case bell <- struct{}{}:
			default: // it has rung already
			}
		}
	}
}

func (l *lookout) wait(topics []topic) (bell chan struct{}) {
	bell = make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range topics {
		if l.waiting[t] == nil {
			l.waiting[t] = map[chan struct{}]bool{}
		}
		l.waiting[t][bell] = true
	}
	return bell
}

func (l *lookout) leave(topics []topic, bell chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range topics {
		if delete(l.waiting[t], bell); len(l.waiting[t]) == 0 {
			delete(l.waiting, t)
		}
	}
}

// errTimeout says that what was waited for did not happen in time.
var errTimeout = errors.New("timed out")

// await waits until test, asked at once and whenever one of topics may have
// changed, returns true or an error. It returns errTimeout after limit, and the
// cause of ctx's end.
func (l *lookout) await(ctx context.Context, limit time.Duration, topics []topic, test func() (bool, error)) error {
	timer := l.clock.NewTimer(limit)
	defer timer.Stop()
	bell := l.wait(topics) // before the first look, so that nothing is missed
	defer l.leave(topics, bell)
	for {
		if done, err := test(); done || err != nil {
			return err
		}
		select {
		case <-bell:
		case <-timer.C():
			return errTimeout
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follow passes on what changes until ctx ends: to the picture first, so that who
// is woken finds it no older than what he sees himself.
func (e *engine) follow(ctx context.Context, changes Changes) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes.Ready():
		}
		list := changes.Take()
		if len(list) == 0 {
			continue
		}
		e.picture.note(list...)
		e.lookout.tell(anything())
		for _, c := range list {
			switch c.Kind {
			case cluster.KindNode:
				e.lookout.tell(nodeTopic(c.Name))
			case cluster.KindPod, cluster.KindWorkload:
				for _, uid := range e.cluster.Concerned(c) {
					e.lookout.tell(workloadTopic(uid))
				}
				if c.Kind == cluster.KindPod && e.spec.SurgeSingletons {
					if pod := e.cluster.Caches().Tied(c.Namespace, c.Name); pod != nil && pod.Spec.NodeName != "" {
						e.lookout.tell(podsTopic(pod.Spec.NodeName))
					}
				}
			}
		}
	}
}
