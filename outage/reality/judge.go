// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reality

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/outage"
)

// Verdict is how a forecast compares with what happened.
type Verdict struct {
	// Pods is how many were on the lost nodes, Deleted how many of them were to be
	// deleted and were.
	Pods, Deleted int
	// Fates counts the pods by their fates, of those that were forecast rightly.
	Fates map[outage.Fate]int
	// Wrong are the pods and nodes of which something else was forecast than
	// happened, each with what it was.
	Wrong []string
	// Deletion, Taint and Unreachable are how far off the forecast times were.
	Deletion, Taint, Unreachable Errors
}

// Right is of how many pods the forecast said what became of them.
func (v *Verdict) Right() int {
	n := 0
	for _, of := range v.Fates {
		n += of
	}
	return n
}

// Errors are the differences between forecast and observed times.
type Errors struct {
	N       int
	Largest time.Duration // of the absolute values
	Where   string        // whose that was
	Sum     time.Duration // of the absolute values
	Outside int           // how many were not between the earliest and the latest moment
	Beyond  time.Duration // how far those were from it at the most
}

func (e *Errors) add(where string, m *outage.Moment, since, seen time.Time) {
	took := seen.Sub(since)
	off := (took - seconds(m.At)).Abs()
	e.N++
	e.Sum += off
	if off >= e.Largest {
		e.Largest, e.Where = off, where
	}
	// The server writes full seconds.
	if took < seconds(m.Earliest)-time.Second || took > seconds(m.Latest)+time.Second {
		e.Outside++
		e.Beyond = max(e.Beyond, seconds(m.Earliest)-took, took-seconds(m.Latest))
	}
}

// Mean is the mean of the absolute values.
func (e *Errors) Mean() time.Duration { return e.Sum / time.Duration(max(1, e.N)) }

// Add merges the errors of another verdict into e.
func (e *Errors) Add(o Errors) {
	if o.Largest >= e.Largest {
		e.Largest, e.Where = o.Largest, o.Where
	}
	e.N, e.Sum, e.Outside, e.Beyond = e.N+o.N, e.Sum+o.Sum, e.Outside+o.Outside, max(e.Beyond, o.Beyond)
}

func (e *Errors) String() string {
	return fmt.Sprintf("largest error %s (%s), mean %s, %d of %d outside of the range given, by up to %s",
		e.Largest.Round(time.Second/10), e.Where, e.Mean().Round(time.Second/10), e.Outside, e.N, e.Beyond.Round(time.Second/10))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Judge holds a forecast against the latest loss of its nodes.
func (h *History) Judge(f *outage.Forecast) *Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := &Verdict{Fates: map[outage.Fate]int{}}
	lost := map[string]*loss{}
	for i := range f.Nodes {
		n := &f.Nodes[i]
		if l := h.nodes[n.Name].last(); l != nil {
			lost[n.Name] = l
			v.node(n, l)
		} else {
			v.Wrong = append(v.Wrong, fmt.Sprintf("node %s was not lost", n.Name))
		}
	}
	there := h.bound(lost)
	successors := h.successors(there, lost)
	fitting := map[string][2]int{}
	for i := range f.Pods {
		forecast := &f.Pods[i]
		key := forecast.Namespace + "/" + forecast.Name
		p := there[key]
		if p == nil {
			v.Wrong = append(v.Wrong, fmt.Sprintf("pod %s was not there", key))
			continue
		}
		delete(there, key)
		v.Pods++
		e := evidence{h: h, pod: p, loss: lost[p.node], successor: successors[p]}
		if wrong := e.against(forecast); wrong != "" {
			v.Wrong = append(v.Wrong, fmt.Sprintf("pod %s on %s: forecast %s (%s): %s", key, p.node, forecast.Fate, forecast.Reason, wrong))
			continue
		}
		v.Fates[forecast.Fate]++
		if forecast.Deleted != nil {
			v.Deleted++
			v.Deletion.add(key, forecast.Deleted, e.loss.since, p.deleted)
		}
		if r := forecast.Replacement; r != nil && r.Waits == "" && r.Starts == nil && e.successor != nil {
			n := fitting[forecast.Owner]
			n[0] += count(r.Fits)
			n[1] += count(e.successor.ready || e.successor.finished > 0)
			fitting[forecast.Owner] = n
		}
	}
	for _, key := range slices.Sorted(maps.Keys(there)) {
		v.Wrong = append(v.Wrong, fmt.Sprintf("pod %s was there, and not in the forecast", key))
	}
	for _, owner := range slices.Sorted(maps.Keys(fitting)) {
		if n := fitting[owner]; n[0] != n[1] {
			v.Wrong = append(v.Wrong, fmt.Sprintf("%s: %d new pods were to find room, %d did", owner, n[0], n[1]))
		}
	}
	return v
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// returning is how long before its own return a node may be tainted that was not to
// be, because all nodes were lost: when the first ones are back, it is another matter.
const returning = 10 * time.Second

func (v *Verdict) node(n *outage.Node, l *loss) {
	for _, m := range []struct {
		what   string
		moment *outage.Moment
		seen   time.Time
		errors *Errors
	}{
		{"unreachable", n.Unreachable, l.unreachable, &v.Unreachable},
		{"tainted", n.Tainted, l.tainted, &v.Taint},
	} {
		switch {
		case m.moment != nil && m.seen.IsZero():
			v.Wrong = append(v.Wrong, fmt.Sprintf("node %s: was to be %s at %.0f s and was not", n.Name, m.what, m.moment.At))
		case m.moment == nil && !m.seen.IsZero() && (l.back == 0 || m.seen.Before(l.returned.Add(-returning))):
			v.Wrong = append(v.Wrong, fmt.Sprintf("node %s: was not to be %s (%s), and was after %s", n.Name, m.what, n.Untainted, m.seen.Sub(l.since)))
		case m.moment != nil:
			m.errors.add("node "+n.Name, m.moment, l.since, m.seen)
		}
	}
}

// bound are the pods that were on the lost nodes when those went away.
func (h *History) bound(lost map[string]*loss) map[string]*pod {
	out := map[string]*pod{}
	for _, p := range h.pods {
		if l := lost[p.node]; l != nil && p.appeared < l.from && (p.gone == 0 || p.gone > l.from) {
			out[p.String()] = p
		}
	}
	return out
}

// successors gives each pod that was deleted while its node was away the pod that
// its controller made instead, before the node was back or out of service.
func (h *History) successors(there map[string]*pod, lost map[string]*loss) map[*pod]*pod {
	all := slices.SortedFunc(maps.Values(h.pods), func(a, b *pod) int { return cmp.Compare(a.appeared, b.appeared) })
	deleted := slices.SortedFunc(maps.Values(there), func(a, b *pod) int {
		return cmp.Or(cmp.Compare(a.begun, b.begun), strings.Compare(a.String(), b.String()))
	})
	out, taken := map[*pod]*pod{}, map[*pod]bool{}
	for _, d := range deleted {
		l := lost[d.node]
		if d.owner == "" || !l.holds(d.begun) {
			continue
		}
		for _, p := range all {
			if p.owner == d.owner && p.appeared > d.begun && l.holds(p.appeared) && !taken[p] {
				out[d], taken[p] = p, true
				break
			}
		}
	}
	return out
}

// holds says whether something happened while the node was away.
func (l *loss) holds(at revision) bool {
	return at > l.from && (l.until == 0 || at < l.until)
}

// evidence is what is known of one pod.
type evidence struct {
	h         *History
	pod       *pod
	loss      *loss
	successor *pod
}

// against says what does not fit a forecast; "" if all does.
func (e *evidence) against(f *outage.Pod) string {
	p, l := e.pod, e.loss
	deleted := l.holds(p.begun)
	if finished := p.finished > 0 && p.finished < l.from; finished != (f.Fate == outage.FateFinished) {
		return fmt.Sprintf("its containers had ended: %v", finished)
	}
	if deleted != (f.Deleted != nil) {
		return fmt.Sprintf("it was deleted: %v", deleted)
	}
	if deleted && l.back > 0 && p.gone == 0 {
		return "it is still there after its node came back"
	}
	if deleted && p.deleted.IsZero() {
		return "it was removed without a deletion timestamp"
	}
	made := e.successor != nil
	failed := e.h.failed[p.owner]
	switch f.Fate {
	case outage.FateFinished:
	case outage.FateStays, outage.FateRestarts:
		return e.kept(f.Fate)
	case outage.FateReplaced:
		if !made || failed {
			return fmt.Sprintf("another was made: %v; its job failed: %v", made, failed)
		}
	case outage.FateStuck:
		switch {
		case p.owner == "":
			return "nobody would make another one"
		case made || failed:
			return fmt.Sprintf("another was made: %v; its job failed: %v", made, failed)
		case p.gone > 0 && l.holds(p.gone):
			return "it went although its node was away"
		}
	case outage.FateLost, outage.FateUnwanted:
		if p.owner != "" && made {
			return "another was made"
		}
	case outage.FateFailsJob:
		if !failed {
			return "its job did not fail"
		}
	default:
		return "no such fate"
	}
	return ""
}

// kept says what does not fit a pod that is not deleted.
func (e *evidence) kept(fate outage.Fate) string {
	p, l := e.pod, e.loss
	if fate == outage.FateStays {
		return "" // it was not deleted, which is all there is to see
	}
	switch {
	case l.back == 0:
		return "its node is not back"
	case toleratesForEver(p.tolerations):
		return "it would not have been deleted, however long its node was away"
	case p.gone > 0 || p.begun > 0:
		return "it was deleted after its node came back"
	case !p.ready:
		return "it is not Ready after its node came back"
	}
	return ""
}

// toleratesForEver says whether a pod never has to leave a node that is unreachable.
func toleratesForEver(tolerations []corev1.Toleration) bool {
	for _, t := range tolerations {
		if t.TolerationSeconds == nil && (t.Effect == "" || t.Effect == corev1.TaintEffectNoExecute) &&
			(t.Key == corev1.TaintNodeUnreachable || t.Key == "" && t.Operator == corev1.TolerationOpExists) {
			return true
		}
	}
	return false
}
