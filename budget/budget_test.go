// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"refit.dev/refit/budget"
	"refit.dev/refit/event"
)

func pdb(field, value string) *policyv1.PodDisruptionBudget {
	b := &policyv1.PodDisruptionBudget{}
	v := intstr.Parse(value)
	switch field {
	case "minAvailable":
		b.Spec.MinAvailable = &v
	case "maxUnavailable":
		b.Spec.MaxUnavailable = &v
	}
	return b
}

func TestDemand(t *testing.T) {
	for _, tc := range []struct {
		field, value                    string
		pods, scale                     int
		expected, desired, allowsAtBest int
	}{
		{"maxUnavailable", "1", 3, 3, 3, 2, 1},
		{"maxUnavailable", "0", 3, 3, 3, 3, 0},
		{"maxUnavailable", "0%", 3, 3, 3, 3, 0},
		{"maxUnavailable", "1%", 3, 3, 3, 2, 1}, // rounded up: more may go than 1%
		{"maxUnavailable", "50%", 7, 7, 7, 3, 4},
		{"maxUnavailable", "5", 3, 3, 3, 0, 3},
		{"maxUnavailable", "1", 2, 0, 0, 0, 0}, // pods without a controller: nothing is expected
		{"minAvailable", "2", 3, 3, 3, 2, 1},
		{"minAvailable", "3", 3, 3, 3, 3, 0},
		{"minAvailable", "4", 3, 3, 3, 4, 0},
		{"minAvailable", "2", 2, 3, 2, 2, 1}, // the third is on its way
		{"minAvailable", "1", 2, 0, 2, 1, 1}, // pods without a controller count
		{"minAvailable", "100%", 3, 3, 3, 3, 0},
		{"minAvailable", "50%", 3, 3, 3, 2, 1},  // rounded up: more must stay than 50%
		{"minAvailable", "67%", 3, 3, 3, 3, 0},  // 2.01 is 3
		{"minAvailable", "66%", 3, 3, 3, 2, 1},  // 1.98 is 2
		{"minAvailable", "1%", 1, 1, 1, 1, 0},   // of one, one must stay
		{"maxUnavailable", "1%", 1, 1, 1, 0, 1}, // of one, one may go
		{"", "", 3, 3, 0, 0, 0},
	} {
		m := budget.Members{Pods: tc.pods, Scale: tc.scale}
		d, err := budget.Of(pdb(tc.field, tc.value), m)
		if err != nil {
			t.Errorf("%+v: %v", tc, err)
		}
		if d.Expected != tc.expected || d.Desired != tc.desired || d.AtBest(m) != tc.allowsAtBest {
			t.Errorf("%s %s of %+v: %+v, at best %d; want %d, %d, %d", tc.field, tc.value, m, d, d.AtBest(m), tc.expected, tc.desired, tc.allowsAtBest)
		}
	}
}

func TestDemandOfNonsense(t *testing.T) {
	for _, field := range []string{"minAvailable", "maxUnavailable"} {
		_, err := budget.Of(pdb(field, "many"), budget.Members{Pods: 3, Scale: 3})
		if err == nil || !strings.Contains(err.Error(), field+` "many"`) {
			t.Errorf("%s: error %v", field, err)
		}
	}
}

// TestPercentagesAreExact holds the percentages against fractions.
func TestPercentagesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scale, percent := rapid.IntRange(1, 5000).Draw(t, "scale"), rapid.IntRange(0, 100).Draw(t, "percent")
		m := budget.Members{Pods: scale, Scale: scale}
		share := big.NewRat(int64(scale)*int64(percent), 100)
		up := new(big.Int).Div(new(big.Int).Add(share.Num(), new(big.Int).Sub(share.Denom(), big.NewInt(1))), share.Denom())
		for field, atBest := range map[string]int{"maxUnavailable": int(up.Int64()), "minAvailable": scale - int(up.Int64())} {
			d, err := budget.Of(pdb(field, strconv.Itoa(percent)+"%"), m)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.AtBest(m); got != atBest {
				t.Errorf("%s %d%% of %d lets %d go, want %d", field, percent, scale, got, atBest)
			}
		}
	})
}

func pod(name string, ready corev1.ConditionStatus, phase corev1.PodPhase, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Status: corev1.PodStatus{Phase: phase}}
	if ready != "" {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: ready}}
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func deleted(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }

func TestExplain(t *testing.T) {
	pods := []*corev1.Pod{
		pod("starting", corev1.ConditionFalse, corev1.PodRunning),
		pod("good", corev1.ConditionTrue, corev1.PodRunning),
		pod("leaving", corev1.ConditionTrue, corev1.PodRunning, deleted),
		pod("evicted", corev1.ConditionTrue, corev1.PodRunning),
		pod("lost", corev1.ConditionUnknown, corev1.PodRunning),
		pod("pending", "", corev1.PodPending),
		pod("done", corev1.ConditionFalse, corev1.PodSucceeded),
		pod("failed", corev1.ConditionFalse, corev1.PodFailed),
	}
	got := budget.Explain(&policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Status: policyv1.PodDisruptionBudgetStatus{
			DisruptionsAllowed: 0, CurrentHealthy: 1, DesiredHealthy: 5, ExpectedPods: 6,
			DisruptedPods: map[string]metav1.Time{"evicted": {}, "gone": {}},
		},
	}, pods)
	want := event.Budget{
		Namespace: "shop", Name: "web", CurrentHealthy: 1, DesiredHealthy: 5, ExpectedPods: 6,
		Unready: []string{"evicted", "leaving", "lost", "pending", "starting"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestIgnored(t *testing.T) {
	for want, pods := range map[bool][]*corev1.Pod{
		true: {
			pod("done", corev1.ConditionFalse, corev1.PodSucceeded), pod("failed", corev1.ConditionFalse, corev1.PodFailed),
			pod("pending", "", corev1.PodPending), pod("leaving", corev1.ConditionTrue, corev1.PodRunning, deleted),
		},
		false: {pod("good", corev1.ConditionTrue, corev1.PodRunning), pod("unready", corev1.ConditionFalse, corev1.PodRunning)},
	} {
		for _, p := range pods {
			if got := budget.Ignored(p); got != want {
				t.Errorf("%s: %v", p.Name, got)
			}
		}
	}
}
