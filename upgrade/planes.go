// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// ownService is the Service by which pods find API servers. These write their own addresses behind
// it (--advertise-address, --endpoint-reconciler-type), whatever they run as and whoever made them.
const ownService = "kubernetes"

// readServers reads where API servers say that they are.
func (o *Observer) readServers(ctx context.Context, s *State) error {
	found, err := o.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Get(ctx, ownService, metav1.GetOptions{})
	if err != nil {
		return s.unseen(err, "endpointslices default/"+ownService, "whether API servers are at addresses of nodes")
	}
	for _, e := range found.Endpoints {
		s.Servers = append(s.Servers, e.Addresses...)
	}
	slices.Sort(s.Servers)
	s.Servers = slices.Compact(s.Servers)
	return nil
}

// plane says by what a node can be seen to be one of the control plane, or to have a member of etcd;
// "" if by nothing. API servers that are no pods (k3s, services of systemd) leave a label, or an address.
func (d *decision) plane(n *cluster.Node) string {
	for _, r := range d.running {
		switch {
		case r.Node != n.Name:
		case r.Component == string(skew.APIServer):
			return "runs a kube-apiserver"
		case r.Component == Etcd && r.Static: // a DaemonSet's is no member of this cluster's
			return "runs a member of etcd"
		}
	}
	if label := cluster.PlaneLabel(n.Node); label != "" {
		return "has the label " + label
	}
	i := slices.IndexFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool { return slices.Contains(d.Servers, a.Address) })
	if i >= 0 {
		return fmt.Sprintf("has the address %s, which is an API server's", n.Status.Addresses[i].Address)
	}
	return ""
}

// checkReplaced tells of nodes of the control plane that would be taken for workers, and removed.
func (d *decision) checkReplaced() {
	if d.intent.Strategy != Replace {
		return
	}
	told := map[string]bool{}
	for _, h := range d.plan.Hops {
		for i := range h.Workers {
			name := h.Workers[i].Node
			n := d.Snapshot.Node(name)
			if n == nil || told[name] {
				continue
			}
			if why := d.plane(n); why != "" {
				told[name] = true
				d.add(PlaneReplaced, nodeObject(name), "%s, and would be removed with its machine", why)
			}
		}
	}
}
