// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
)

func ofDaemon(p *corev1.Pod) {
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "ds", UID: "ds", Controller: ptr.To(true)}}
}

func mirror(p *corev1.Pod) {
	p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", Controller: ptr.To(true)}}
}

func emptyDir(p *corev1.Pod) {
	p.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
}

func succeeded(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }

func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	deletedAgo := func(d time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(metav1.NewTime(now.Add(-d))) }
	}
	missing := podFacts{daemonSetMissing: true}
	all := DefaultOptions()
	with := func(edit func(*Options)) Options {
		o := DefaultOptions()
		edit(&o)
		return o
	}
	force := with(func(o *Options) { o.Force = true })
	for _, tt := range []struct {
		name    string
		options Options
		pod     *corev1.Pod
		facts   podFacts
		fate    fate
		says    string // reason, message or warnings
	}{
		{"plain", all, pod("p", "n"), podFacts{}, leave, ""},
		{"mirror", all, pod("p", "n", mirror), podFacts{}, skip, SkipMirror},
		{"mirror with local data", all, pod("p", "n", mirror, emptyDir), podFacts{}, skip, SkipMirror},

		{"daemonset", all, pod("p", "n", ofDaemon), podFacts{}, skip, SkipDaemonSet},
		{"daemonset, not ignored", Options{}, pod("p", "n", ofDaemon), podFacts{}, refuse, refuseDaemonSet},
		{"daemonset, finished", Options{}, pod("p", "n", ofDaemon, succeeded), podFacts{}, leave, ""},
		{"daemonset gone", all, pod("p", "n", ofDaemon), missing, refuse, refuseOrphan},
		{"daemonset gone, forced", force, pod("p", "n", ofDaemon), missing, leave, warnOrphan},
		{"daemonset with local data", all, pod("p", "n", ofDaemon, emptyDir), podFacts{}, skip, SkipDaemonSet},
		{"daemonset, which the taint removes", all, pod("p", "n", ofDaemon), podFacts{removed: true, byDrain: true}, skip, ReasonOutOfService},
		{"daemonset with local data, which the taint removes", all, pod("p", "n", ofDaemon, emptyDir), podFacts{removed: true}, skip, ReasonOutOfService},
		{"daemonset with local data, which the drain would have removed", all, pod("p", "n", ofDaemon, emptyDir), podFacts{removed: true, byDrain: true}, refuse, refuseLocalData},
		{
			"daemonset with local data, allowed", with(func(o *Options) { o.DeleteEmptyDirData = true }),
			pod("p", "n", ofDaemon, emptyDir), podFacts{removed: true, byDrain: true}, skip, ReasonOutOfService,
		},

		{"local data", all, pod("p", "n", emptyDir), podFacts{}, refuse, refuseLocalData},
		{"local data, allowed", with(func(o *Options) { o.DeleteEmptyDirData = true }), pod("p", "n", emptyDir), podFacts{}, leave, warnLocalData},
		{"local data, finished", all, pod("p", "n", emptyDir, succeeded), podFacts{}, leave, ""},

		{"bare", all, pod("p", "n", bare), podFacts{}, refuse, refuseUnmanaged},
		{"bare, forced", force, pod("p", "n", bare), podFacts{}, leave, warnUnmanaged},
		{"bare, finished", all, pod("p", "n", bare, succeeded), podFacts{}, leave, ""},
		{"bare with local data", force, pod("p", "n", bare, emptyDir), podFacts{}, refuse, refuseLocalData},
		{
			"bare with local data, all allowed", with(func(o *Options) { o.Force, o.DeleteEmptyDirData = true, true }),
			pod("p", "n", bare, emptyDir), podFacts{}, leave, warnLocalData + "|" + warnUnmanaged,
		},

		{
			"selected", with(func(o *Options) { o.PodSelector = labels.SelectorFromSet(labels.Set{"app": "web"}) }),
			pod("p", "n"), podFacts{}, leave, "",
		},
		{
			"not selected, whatever it is", with(func(o *Options) { o.PodSelector = labels.SelectorFromSet(labels.Set{"app": "db"}) }),
			pod("p", "n", bare), podFacts{}, skip, SkipSelector,
		},

		{"terminating", all, pod("p", "n", deletedAgo(time.Hour)), podFacts{}, leave, ""},
		{"terminating too long", with(func(o *Options) { o.SkipWaitForDelete = time.Minute }), pod("p", "n", deletedAgo(time.Hour), bare), podFacts{}, skip, SkipTerminating},
		{"terminating not so long", with(func(o *Options) { o.SkipWaitForDelete = time.Minute }), pod("p", "n", deletedAgo(time.Second)), podFacts{}, leave, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := tt.options.judge(tt.pod, now, tt.facts)
			says := strings.Join(j.warnings, "|")
			switch j.fate {
			case skip:
				says = j.reason
			case refuse:
				says = j.message
			case leave:
			}
			if j.fate != tt.fate || says != tt.says {
				t.Errorf("%v %q, want %v %q", j.fate, says, tt.fate, tt.says)
			}
		})
	}
}

func TestSelection(t *testing.T) {
	pods := []*corev1.Pod{
		pod("z", "n"), pod("crit", "n", priority(2_000_001_000)), pod("a", "n"),
		pod("bare-2", "n", bare), pod("bare-1", "n", bare), pod("tmp", "n", emptyDir), pod("ds", "n", ofDaemon),
	}
	known := func(*corev1.Pod) podFacts { return podFacts{} }
	s := DefaultOptions().selectPods("n1", pods, time.Time{}, known)
	want := "node n1: cannot delete Pods that declare no controller (use --force to override): shop/bare-1, shop/bare-2; " +
		"cannot delete Pods with local storage (use --delete-emptydir-data to override): shop/tmp"
	if err := s.Err(); err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	if len(s.Skip) != 1 || s.Skip[0].Pod.Name != "ds" {
		t.Errorf("%+v", s.Skip)
	}

	s = Options{IgnoreDaemonSets: true, Force: true, DeleteEmptyDirData: true}.selectPods("n1", pods, time.Time{}, known)
	if s.Err() != nil {
		t.Error(s.Err())
	}
	var order []string
	for _, p := range s.Leave {
		order = append(order, p.Name)
	}
	if want := []string{"a", "bare-1", "bare-2", "tmp", "z", "crit"}; !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
	wantWarnings := []string{"deleting Pods that declare no controller: shop/bare-1, shop/bare-2", "deleting Pods with local storage: shop/tmp"}
	if !slices.Equal(s.Warnings, wantWarnings) {
		t.Errorf("%v", s.Warnings)
	}
}
