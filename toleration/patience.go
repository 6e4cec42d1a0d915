// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package toleration

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
)

// Taints are the two that a lost node can get: not-ready if its kubelet says that
// something is wrong, unreachable if it says nothing at all.
func Taints() [2]string { return [2]string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} }

// Source says where a Patience is from. It is part of the contract of the command
// line: add, never rename.
type Source string

const (
	// SourceDefault: nothing covers the taint, so the API server adds its default.
	SourceDefault Source = "default"
	// SourceOwn: a toleration of this taint.
	SourceOwn Source = "own"
	// SourceAny: a toleration without a key, which is one of every taint.
	SourceAny Source = "any-taint"
	// SourceUnmatched: a toleration names the taint, so that no default is added, but
	// does not match it, because of its operator or value: the pod has no time.
	SourceUnmatched Source = "unmatched"
)

// Patience is how long a pod tolerates one of the Taints.
type Patience struct {
	// Seconds is nil for ever. 0 is not at all.
	Seconds *int64 `json:"seconds"`
	Source  Source `json:"source"`
}

// String returns "30s" or "for ever".
func (p Patience) String() string {
	if p.Seconds == nil {
		return "for ever"
	}
	return Duration(*p.Seconds)
}

// Same tells whether two of them are equally long.
func (p Patience) Same(q Patience) bool { return ptr.Equal(p.Seconds, q.Seconds) }

// Duration writes seconds as Span does.
func Duration(seconds int64) string { return Span(time.Duration(seconds) * time.Second) }

// Span writes a duration as Go does, without parts that are zero: 5m, 1h, 1m30s.
func Span(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if n := len(text) - len(zero); n > 0 && text[n:] == zero {
			text = text[:n+1]
		}
	}
	return text
}

// Of returns how long a pod with these tolerations in its template tolerates one of
// the Taints, def being the API server's default in seconds (nil: none is added).
func Of(tolerations []corev1.Toleration, taint string, def *int64) Patience {
	p, _ := OfAll(tolerations, []corev1.Taint{{Key: taint, Effect: corev1.TaintEffectNoExecute}}, func(string) *int64 { return def })
	return p
}

// OfAll is that for a node with several taints, all of the effect NoExecute: for each one the
// first toleration that matches counts, and of those the shortest; one without seconds is for
// ever, one of 0 or less is none (processPodOnNode in
// pkg/controller/tainteviction/taint_eviction.go). Against is the first taint that is not
// tolerated at all, which means at once; nil: there is none. Def says of the key of a taint
// what the API server adds for it.
func OfAll(tolerations []corev1.Toleration, taints []corev1.Taint, def func(taint string) *int64) (p Patience, against *corev1.Taint) {
	for i := range taints {
		seconds, source, tolerated := count(tolerations, &taints[i], def)
		if !tolerated {
			return Patience{Seconds: ptr.To[int64](0), Source: source}, &taints[i]
		}
		if i == 0 || seconds != nil && (p.Seconds == nil || *seconds < *p.Seconds) {
			p = Patience{Seconds: seconds, Source: source}
		}
	}
	p.Seconds = Limit(p.Seconds)
	return p, nil
}

// count is what a toleration says of a taint.
func count(tolerations []corev1.Toleration, taint *corev1.Taint, def func(taint string) *int64) (seconds *int64, source Source, tolerated bool) {
	if i := first(tolerations, taint); i >= 0 {
		t := &tolerations[i]
		if t.Key == "" {
			return t.TolerationSeconds, SourceAny, true
		}
		return t.TolerationSeconds, SourceOwn, true
	}
	if slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool { return covers(&t, taint.Key) }) {
		return nil, SourceUnmatched, false
	}
	seconds = def(taint.Key)
	return seconds, SourceDefault, seconds != nil
}

// Limit is for how many seconds a toleration holds that says so many; nil is for ever.
// Less than nothing is nothing. What a duration of 64 bits cannot hold overflows, as it
// does in getMinTolerationTime (pkg/controller/tainteviction/taint_eviction.go): more
// than about 292 years are mostly for ever, but may be any time.
func Limit(seconds *int64) *int64 {
	if seconds == nil {
		return nil
	}
	d := time.Duration(max(0, *seconds)) * time.Second
	if d < 0 {
		return nil
	}
	return ptr.To(int64(d / time.Second))
}

// first is the index of the toleration that counts: the first one that matches; -1
// if none does.
func first(tolerations []corev1.Toleration, taint *corev1.Taint) int {
	return slices.IndexFunc(tolerations, func(t corev1.Toleration) bool { return t.ToleratesTaint(klog.Logger{}, taint, true) })
}

// covers tells whether the admission plugin adds no default because of t. It does
// not look at the operator and the value.
func covers(t *corev1.Toleration, taint string) bool {
	return (t.Key == taint || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "")
}

// Set returns tolerations with which a pod tolerates both Taints for so long, and
// everything else as before. The toleration that counted so far is changed if it is
// of that taint alone; one that is of more taints or effects stays as it is, and a
// toleration of the taint is put in front of it. Only what the API server allows to
// be changed of a living pod, too, is changed: seconds, and additions.
func Set(tolerations []corev1.Toleration, seconds int64) []corev1.Toleration {
	out := slices.Clone(tolerations)
	for _, taint := range Taints() {
		i := first(out, &corev1.Taint{Key: taint, Effect: corev1.TaintEffectNoExecute})
		if i >= 0 && out[i].Key == taint && out[i].Effect == corev1.TaintEffectNoExecute {
			out[i].TolerationSeconds = ptr.To(seconds)
			continue
		}
		if i < 0 {
			i = len(out)
		}
		out = slices.Insert(out, i, corev1.Toleration{
			Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To(seconds),
		})
	}
	return out
}
