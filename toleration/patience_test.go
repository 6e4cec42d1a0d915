// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package toleration

import (
	"math"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

func TestDuration(t *testing.T) {
	for seconds, want := range map[int64]string{0: "0s", 1: "1s", 30: "30s", 60: "1m", 90: "1m30s", 300: "5m", 600: "10m", 3600: "1h", 3601: "1h0m1s", 5400: "1h30m", 36000: "10h"} {
		if got := Duration(seconds); got != want {
			t.Errorf("%d: %s, want %s", seconds, got, want)
		}
	}
}

// The controller multiplies seconds by a billion, in 64 bits.
func TestLimit(t *testing.T) {
	for _, tc := range []struct{ seconds, want *int64 }{
		{nil, nil},
		{ptr.To[int64](-5), ptr.To[int64](0)},
		{ptr.To[int64](0), ptr.To[int64](0)},
		{ptr.To[int64](300), ptr.To[int64](300)},
		{ptr.To[int64](9_223_372_036), ptr.To[int64](9_223_372_036)},
		{ptr.To[int64](9_223_372_037), nil},
		{ptr.To[int64](18_446_744_074), ptr.To[int64](0)},
		{ptr.To[int64](math.MaxInt64), nil},
	} {
		if got := Limit(tc.seconds); !ptr.Equal(got, tc.want) {
			t.Errorf("%v: %v, want %v", ptr.Deref(tc.seconds, -1), ptr.Deref(got, -1), ptr.Deref(tc.want, -1))
		}
		own := []corev1.Toleration{{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, TolerationSeconds: tc.seconds}}
		if p := Of(own, corev1.TaintNodeUnreachable, nil); !ptr.Equal(p.Seconds, tc.want) {
			t.Errorf("a toleration of %v s: %s", ptr.Deref(tc.seconds, -1), p)
		}
	}
	if p := (Default{Taint: corev1.TaintNodeUnreachable, Seconds: ptr.To[int64](math.MaxInt64)}).Patience(); p.String() != "for ever" {
		t.Errorf("a default of MaxInt64: %s", p)
	}
}

// drawTolerations makes tolerations as the API server takes them.
func drawTolerations(t *rapid.T) []corev1.Toleration {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) corev1.Toleration {
		out := corev1.Toleration{
			Key:      rapid.SampledFrom([]string{"", corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, "gpu"}).Draw(t, "key"),
			Operator: rapid.SampledFrom([]corev1.TolerationOperator{"", "Equal", "Exists", "Lt"}).Draw(t, "operator"),
			Effect:   rapid.SampledFrom([]corev1.TaintEffect{"", "NoExecute", "NoExecute", "NoSchedule"}).Draw(t, "effect"),
		}
		if out.Key == "" {
			out.Operator = corev1.TolerationOpExists
		}
		switch out.Operator {
		case corev1.TolerationOpLt:
			out.Value = "5"
		case corev1.TolerationOpEqual, "":
			out.Value = rapid.SampledFrom([]string{"", "x"}).Draw(t, "value")
		}
		if out.Effect == corev1.TaintEffectNoExecute && rapid.Bool().Draw(t, "limited") {
			out.TolerationSeconds = ptr.To(rapid.Int64Range(-1, 400).Draw(t, "seconds"))
		}
		return out
	}), 0, 6).Draw(t, "tolerations")
}

// Whatever a template says: afterwards both taints are tolerated for the time that
// was set, and every other taint as before; nothing was changed in place; and a
// living pod could be changed in the same way, which is the strictest of all rules.
func TestSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := drawTolerations(t)
		kept := slices.Clone(before)
		seconds := rapid.Int64Range(0, 1000).Draw(t, "set")
		after := Set(before, seconds)
		if !reflect.DeepEqual(before, kept) {
			t.Fatalf("the template was changed in place: %v", before)
		}
		for _, taint := range Taints() {
			if p := Of(after, taint, ptr.To[int64](7)); p.Source != SourceOwn || p.Seconds == nil || *p.Seconds != seconds {
				t.Fatalf("%s is tolerated for %v (%s), want %d s: %v", taint, p, p.Source, seconds, after)
			}
		}
		for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, "gpu", "other"} {
			for _, effect := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute} {
				for _, value := range []string{"", "x", "3"} {
					if value == "" && effect == corev1.TaintEffectNoExecute && (key == corev1.TaintNodeNotReady || key == corev1.TaintNodeUnreachable) {
						continue
					}
					if key == corev1.TaintNodeNotReady || key == corev1.TaintNodeUnreachable {
						if effect == corev1.TaintEffectNoExecute {
							continue // the control plane gives these taints no value
						}
					}
					taint := corev1.Taint{Key: key, Value: value, Effect: effect}
					if was, is := upstream(before, taint), upstream(after, taint); !reflect.DeepEqual(was, is) {
						t.Fatalf("%v was tolerated by %v, is by %v", taint, was, is)
					}
				}
			}
		}
		for _, old := range before { // validateOnlyAddedTolerations in pkg/apis/core/validation/validation.go
			if !slices.ContainsFunc(after, func(now corev1.Toleration) bool {
				now.TolerationSeconds = old.TolerationSeconds
				return now == old
			}) {
				t.Fatalf("%v is gone", old)
			}
		}
		if again := Set(after, seconds); !reflect.DeepEqual(again, after) {
			t.Fatalf("set twice: %v, then %v", after, again)
		}
	})
}

// upstream is the toleration that counts for a taint, as GetMatchingTolerations has it.
func upstream(tolerations []corev1.Toleration, taint corev1.Taint) *corev1.Toleration {
	for i := range tolerations {
		if tolerations[i].ToleratesTaint(klog.Logger{}, &taint, true) {
			return &tolerations[i]
		}
	}
	return nil
}

// A node with several taints: what processPodOnNode makes of a pod, in its own steps.
func TestOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		has := drawTolerations(t)
		taints := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) corev1.Taint {
			return corev1.Taint{
				Key:    rapid.SampledFrom([]string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, "gpu", "other"}).Draw(t, "taint"),
				Value:  rapid.SampledFrom([]string{"", "x", "3"}).Draw(t, "of"),
				Effect: corev1.TaintEffectNoExecute,
			}
		}), 1, 3).Draw(t, "taints")
		least := int64(math.MaxInt64)
		var against *corev1.Taint
		for i := range taints {
			switch x := upstream(has, taints[i]); {
			case x == nil && against == nil:
				against = &taints[i]
			case x != nil && x.TolerationSeconds != nil:
				least = min(least, max(0, *x.TolerationSeconds))
			}
		}
		want := ptr.To(least)
		switch {
		case against != nil:
			want = ptr.To[int64](0)
		case least == math.MaxInt64:
			want = nil
		}
		p, first := OfAll(has, taints, func(string) *int64 { return nil })
		if first != against || !ptr.Equal(p.Seconds, want) {
			t.Fatalf("%v by %v: for %v, against %v; want %v, against %v", taints, has, p, first, ptr.Deref(want, -1), against)
		}
	})
}

func TestParseName(t *testing.T) {
	for text, want := range map[string]Name{
		"deployment/web": {"Deployment", "web"}, "deploy/web": {"Deployment", "web"}, "Deployments.apps/web": {"Deployment", "web"},
		"sts/db": {"StatefulSet", "db"}, "cronjobs/x": {"CronJob", "x"}, "job/x": {"Job", "x"}, "po/x": {"Pod", "x"}, "rc/x": {"ReplicationController", "x"},
	} {
		if got, err := ParseName(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "web", "deployment/", "/web", "node/a", "deployment/a/b"} {
		if got, err := ParseName(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}
