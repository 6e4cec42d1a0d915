// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

const (
	// defaultLease is for how long a kubelet's lease is valid if it does not say;
	// nodeLeaseDurationSeconds of KubeletConfiguration. It is renewed four times as often.
	defaultLease = 40 * time.Second
	// heartbeatInterval is between two looks at a lease.
	heartbeatInterval = time.Second
)

// heartbeat is the lease of a kubelet.
type heartbeat struct {
	renewed time.Time // by the kubelet's clock; zero if there is none
	valid   time.Duration
}

// heartbeatOf reads the lease of a node's kubelet. It lists, because that is what the
// documented role may do, and outage does.
func (d *Drainer) heartbeatOf(ctx context.Context, node string) (heartbeat, error) {
	found, err := d.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, node).String(),
	})
	if err != nil {
		return heartbeat{}, fmt.Errorf("look at the lease of node %s: %w", node, err)
	}
	for i := range found.Items {
		l := &found.Items[i]
		if l.Name != node || l.Spec.RenewTime == nil {
			continue
		}
		h := heartbeat{renewed: l.Spec.RenewTime.Time, valid: defaultLease}
		if s := l.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
			h.valid = min(time.Duration(*s)*time.Second, defaultLease)
		}
		return h, nil
	}
	return heartbeat{}, nil
}

// listen finds out whether the kubelet of a lost node, which is said to be off, goes on
// renewing its lease: that is a *LostError.
//
// The controller manager gives a node up when its lease was silent for the grace period,
// and from then on only the kubelet makes it Ready again (tryUpdateNodeHealth in
// pkg/controller/nodelifecycle/node_lifecycle_controller.go). One whose status is refused,
// or that cannot start, may be back all the same. A lease that was renewed after the node
// was given up shows that, or that the clocks of two machines differ: it is watched for
// as long as it is valid.
func (o *operation) listen(i int) error {
	node := o.nodes[i]
	if !o.options.ConfirmNodeIsOff || !cluster.Lost(node) || cluster.OutOfService(node) {
		return nil
	}
	first, err := o.heartbeatOf(o.ctx, node.Name)
	if apierrors.IsForbidden(err) {
		o.tell(event.Event{
			Type: event.Warning, Node: node.Name, Message: "whether its kubelet still renews its lease cannot be seen: " + err.Error(),
			Hint: "refit needs to list leases: docs/how-to/rbac.md",
		})
		return nil
	}
	if err != nil {
		return o.cutOff(node.Name, err)
	}
	o.renewed[i] = first.renewed
	if !first.renewed.After(givenUp(node)) {
		return nil
	}
	for end := o.clock.Now().Add(first.valid); o.clock.Now().Before(end); {
		select {
		case <-o.clock.After(heartbeatInterval):
		case <-o.ctx.Done():
			return o.cutOff(node.Name, context.Cause(o.ctx))
		}
		if err := o.beats(i); err != nil {
			return err
		}
	}
	return nil
}

// beats is a *LostError if the lease of a node was renewed since it was looked at.
func (o *operation) beats(i int) error {
	if o.renewed[i].IsZero() {
		return nil // there was none, or it may not be read
	}
	node := o.nodes[i].Name
	now, err := o.heartbeatOf(o.ctx, node)
	switch {
	case err != nil:
		return o.cutOff(node, err)
	case now.renewed.IsZero(), now.renewed.Equal(o.renewed[i]):
		return nil
	}
	return hint.Wrap(&LostError{node, "is not Ready, but its kubelet renewed its lease at " + now.renewed.UTC().Format(time.RFC3339) + ", so the machine is not off"},
		"see what keeps the kubelet from reporting the node as Ready; if the machine is to be given up, switch it off first")
}

// cutOff is err, or that nobody waits any more.
func (o *operation) cutOff(node string, err error) error {
	if cause := context.Cause(o.ctx); cause != nil {
		return &UnfinishedError{Node: node, Cause: cause}
	}
	return err
}

// givenUp is since when the node's Ready condition is what it is.
func givenUp(n *corev1.Node) time.Time {
	for i := range n.Status.Conditions {
		if c := &n.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}
