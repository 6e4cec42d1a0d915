// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	topology "k8s.io/component-helpers/node/topology"

	"refit.dev/refit/cluster"
	"refit.dev/refit/placement"
)

// ground is a Snapshot prepared for the loss of nodes, of one set after another.
type ground struct {
	s      *cluster.Snapshot
	p      Parameters
	byName map[string]int
	zones  []zone
	zoneOf []int // by node
	// unready nodes are not Ready as it is.
	unready []bool
	plane   controlPlane
	landing *landing
	// room gives the reasons why a pod fits nowhere; made when somebody asks.
	room *placement.Room
}

// zone is what the node controller takes for one: the nodes with the same region
// and zone (GetZoneKey in k8s.io/component-helpers/node/topology).
type zone struct {
	name    string
	region  string
	nodes   int // those that count
	unready int
}

// labelExcluded keeps a node from being counted in its zone
// (isNodeExcludedFromDisruptionChecks in node_lifecycle_controller.go).
const labelExcluded = "node.kubernetes.io/exclude-disruption"

func newGround(s *cluster.Snapshot, p Parameters) *ground {
	g := &ground{
		s: s, p: p, byName: make(map[string]int, len(s.Nodes)), zoneOf: make([]int, len(s.Nodes)), unready: make([]bool, len(s.Nodes)),
		plane: newControlPlane(s), landing: newLanding(placement.NewBoard(s)),
	}
	byKey := map[string]int{}
	for i, n := range s.Nodes {
		g.byName[n.Name] = i
		g.unready[i] = !cluster.Ready(n.Node)
		key := topology.GetZoneKey(n.Node)
		z, known := byKey[key]
		if !known {
			z = len(g.zones)
			byKey[key] = z
			g.zones = append(g.zones, zone{name: zoneName(n.Node), region: regionOf(n.Node)})
		}
		g.zoneOf[i] = z
		if !excluded(n.Node) {
			g.zones[z].nodes++
			if g.unready[i] {
				g.zones[z].unready++
			}
		}
	}
	nameZones(g.zones)
	return g
}

func excluded(n *corev1.Node) bool {
	_, is := n.Labels[labelExcluded]
	return is
}

// zoneName is how a person calls the zone of a node: by its zone, with the region
// if there is no zone.
func zoneName(n *corev1.Node) string { return cmp.Or(zoneOnly(n), regionOf(n)) }

// zoneOnly and regionOf go by the labels in the order in which GetZoneKey does.
func zoneOnly(n *corev1.Node) string {
	return cmp.Or(n.Labels[corev1.LabelFailureDomainBetaZone], n.Labels[corev1.LabelTopologyZone])
}

func regionOf(n *corev1.Node) string {
	return cmp.Or(n.Labels[corev1.LabelFailureDomainBetaRegion], n.Labels[corev1.LabelTopologyRegion])
}

// nameZones tells zones of the same name in different regions apart by their regions.
func nameZones(zones []zone) {
	seen := map[string]int{}
	for i := range zones {
		seen[zones[i].name]++
	}
	for i := range zones {
		if z := &zones[i]; seen[z.name] > 1 && z.region != "" && z.region != z.name {
			z.name = z.region + "/" + z.name
		}
	}
}

// labelledZone is the zone that the labels of a node name: the label in use, or the one
// that it replaced. Unlike the node controller, people do not take a region for a zone.
func labelledZone(n *corev1.Node) string {
	return cmp.Or(n.Labels[corev1.LabelTopologyZone], n.Labels[corev1.LabelFailureDomainBetaZone])
}

// InZone returns the names of the nodes whose label topology.kubernetes.io/zone says that
// zone, in any region, sorted.
func InZone(s *cluster.Snapshot, name string) []string {
	var nodes []string
	for _, n := range s.Nodes {
		if labelledZone(n.Node) == name {
			nodes = append(nodes, n.Name)
		}
	}
	return nodes
}

// ZoneNames returns the names of all zones, sorted.
func ZoneNames(s *cluster.Snapshot) []string {
	var names []string
	for _, n := range s.Nodes {
		if name := labelledZone(n.Node); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
