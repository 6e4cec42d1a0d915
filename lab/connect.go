// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// connect gives each node's pods their network, and each machine the routes to
// the others'. Pods are connected point to point: what comes from a pod is routed
// and never bridged, so Services work without the kernel's bridge filter.
func (l *Lab) connect(ctx context.Context) error {
	networks := map[string]netip.Prefix{}
	err := within(ctx, bootLimit, "wait until every node has a network for its pods", func(ctx context.Context) error {
		return poll(ctx, 500*time.Millisecond, func() (bool, error) {
			out, err := l.kubectl(ctx, nil, "get", "nodes", "--output", `jsonpath={range .items[*]}{.metadata.name} {.spec.podCIDR}{"\n"}{end}`)
			if err != nil {
				return false, err
			}
			for line := range strings.Lines(out) {
				if fields := strings.Fields(line); len(fields) == 2 {
					if networks[fields[0]], err = netip.ParsePrefix(fields[1]); err != nil {
						return false, err
					}
				}
			}
			return len(networks) == len(l.Nodes()), nil
		})
	})
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, m := range l.Nodes() {
		g.Go(func() error { return l.connectMachine(gctx, m, networks) })
	}
	return g.Wait()
}

func (l *Lab) connectMachine(ctx context.Context, m Machine, networks map[string]netip.Prefix) error {
	own, ok := networks[m.Name]
	if !ok {
		return fmt.Errorf("machine %s has no node", m.Name)
	}
	var routes strings.Builder
	for _, other := range l.Nodes() {
		if other.Name != m.Name {
			fmt.Fprintf(&routes, "%s %s\n", networks[other.Name], other.Address)
		}
	}
	type object = map[string]any
	cni, err := json.Marshal(object{
		"cniVersion": "1.0.0", "name": "lab",
		"plugins": []object{{
			"type": "ptp",
			"ipam": object{
				"type":   "host-local",
				"ranges": [][]object{{{"subnet": own.String()}}},
				"routes": []object{{"dst": "0.0.0.0/0"}},
			},
		}},
	})
	if err != nil {
		return err
	}
	if err := l.put(ctx, m.Name, map[string]string{"./etc/lab/routes": routes.String(), "./etc/cni/net.d/10-lab.conflist": string(cni)}, 0o644); err != nil {
		return err
	}
	_, err = l.exec(ctx, m.Name, "systemctl restart lab-network.service")
	return err
}
