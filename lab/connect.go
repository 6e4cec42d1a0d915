// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sync/errgroup"
)

// podsOf is the network of the pods on the machine of an address: that part of podSubnet
// which has the address's last number. As many network plugins do, the lab hands out
// addresses of its own and passes over Node.spec.podCIDR; so every machine knows the way
// to those that are yet to come.
func podsOf(machine netip.Addr) netip.Prefix {
	a := netip.MustParsePrefix(podSubnet).Addr().As4()
	a[2] = machine.As4()[3]
	return netip.PrefixFrom(netip.AddrFrom4(a), 24)
}

// connect gives each node's pods their network, and each machine the routes to
// the others'.
func (l *Lab) connect(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, m := range l.Nodes() {
		g.Go(func() error {
			files, err := l.wiring(m)
			if err != nil {
				return err
			}
			if err := l.put(gctx, m.Name, files, 0o644); err != nil {
				return err
			}
			_, err = l.exec(gctx, m.Name, "systemctl restart lab-network.service")
			return err
		})
	}
	return g.Wait()
}

// wiring are the files that a node's network is made of. Pods are connected point to point:
// what comes from a pod is routed and never bridged, so Services work without the kernel's
// bridge filter.
func (l *Lab) wiring(m Machine) (map[string]string, error) {
	var routes strings.Builder
	for _, other := range l.nodeAddresses() {
		if other != m.Address {
			fmt.Fprintf(&routes, "%s %s\n", podsOf(other), other)
		}
	}
	type object = map[string]any
	cni, err := json.Marshal(object{
		"cniVersion": "1.0.0", "name": "lab",
		"plugins": []object{{
			"type": "ptp",
			"ipam": object{
				"type":   "host-local",
				"ranges": [][]object{{{"subnet": podsOf(m.Address).String()}}},
				"routes": []object{{"dst": "0.0.0.0/0"}},
			},
		}},
	})
	return map[string]string{"./etc/lab/routes": routes.String(), "./etc/cni/net.d/10-lab.conflist": string(cni)}, err
}
