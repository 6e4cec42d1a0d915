// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// A node that is said to be off is not given up while its kubelet renews its lease. One
// whose lease is merely newer than the end of its node, as clocks may have it, is.
func TestHeartbeat(t *testing.T) {
	const valid = 8
	for _, tt := range []struct {
		name   string
		renew  time.Duration // after the node was given up
		none   bool          // no lease
		denied bool
		beats  bool // it is renewed while it is watched
		later  bool // it is renewed right before the taint
		refuse bool
	}{
		{name: "silent since before", renew: -time.Minute},
		{name: "no lease", none: true},
		{name: "may not be read", denied: true},
		{name: "renewed, and again", renew: time.Minute, beats: true, refuse: true},
		{name: "renewed, and not again", renew: time.Hour},
		{name: "renewed at last", renew: -time.Minute, later: true, refuse: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWorld(t, node("n1"))
			lost := x.clock.Now().Add(-2 * time.Hour)
			x.lose("n1")
			change(x, &corev1.Node{}, "", "n1", func(n *corev1.Node) {
				n.Spec.Taints, n.Status.Conditions[0].LastTransitionTime = nil, metav1.NewTime(lost)
			})
			lease := &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Name: "n1", Namespace: corev1.NamespaceNodeLease},
				Spec:       coordinationv1.LeaseSpec{LeaseDurationSeconds: ptr.To[int32](valid), RenewTime: ptr.To(metav1.NewMicroTime(lost.Add(tt.renew)))},
			}
			asked := 0 // guarded by the client, which answers one request at a time
			x.client.PrependReactor("list", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
				asked++
				switch {
				case tt.denied:
					return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "leases"}, "", errors.New("no"))
				case tt.none:
					return true, &coordinationv1.LeaseList{}, nil
				}
				found := *lease.DeepCopy()
				if tt.beats && asked > 3 || tt.later && asked > 1 {
					found.Spec.RenewTime = ptr.To(metav1.NewMicroTime(found.Spec.RenewTime.Add(2 * time.Second)))
				}
				return true, &coordinationv1.LeaseList{Items: []coordinationv1.Lease{found}}, nil
			})
			done := x.drainNodes(t.Context(), x.drainer(func(o *Options) { o.ConfirmNodeIsOff = true }), false, "n1")
			for i := 0; tt.renew > 0 && i < valid && (!tt.beats || i < 3); i++ {
				x.step(heartbeatInterval)
			}
			got := x.ended(done)
			n := nodeNow(t, x.client)
			denied := slices.ContainsFunc(warnings(x), func(m string) bool { return strings.Contains(m, "still renews its lease cannot be seen") })
			if cluster.OutOfService(n) == tt.refuse || denied != tt.denied {
				t.Errorf("taints %v, told:\n%s", n.Spec.Taints, x.log())
			}
			refused := (*LostError)(nil)
			if errors.As(got.err, &refused) != tt.refuse || tt.refuse && (!strings.Contains(refused.Reason, "its kubelet renewed its lease at") || got.summary.Result != event.ResultBlocked || n.Spec.Unschedulable) {
				t.Errorf("%+v, %v", got.summary, got.err)
			}
		})
	}
}
