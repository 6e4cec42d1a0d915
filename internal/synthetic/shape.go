// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Shape says how large a cluster is to be.
type Shape struct {
	// Nodes is how many there are, the three of the control plane included: 10 at the least.
	Nodes int
	// Pods is how many there are in all, the two of DaemonSets on every node
	// included: three for each node at the least, and 100 at the most.
	Pods int
	// Budgets is how many PodDisruptionBudgets there are, each for a workload of
	// its own: one at the least, and one for every ten pods at the most.
	Budgets int
	// Load is the part of the workers' CPU that pods request: more than 0, 0.9 at the most.
	Load float64
	// Seed makes one of many clusters of the same size.
	Seed uint64
	// Now is the time that the objects are made for.
	Now time.Time
}

// Large is the shape of 5,000 nodes, 150,000 pods and 2,000 budgets, at another
// number of nodes.
func Large(nodes int) Shape {
	return Shape{
		Nodes: nodes, Pods: 30 * nodes, Budgets: nodes * 2 / 5, Load: 0.6, Seed: 1,
		Now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
	}
}

const (
	controlPlanes = 3
	daemonSets    = 2
	daemonCPU     = 50 // milli-CPU and MiB of each of their pods
	daemonMem     = 100
	zones         = 3
	maxPods       = 110 // kubelet's default
	milliCPU      = 16_000
	mebibytes     = 64 * 1024
)

func (s Shape) validate() error {
	switch {
	case s.Nodes < 10:
		return fmt.Errorf("a synthetic cluster of %d nodes: want 10 or more", s.Nodes)
	case s.Pods < (daemonSets+1)*s.Nodes || s.Pods > 100*s.Nodes:
		return fmt.Errorf("a synthetic cluster of %d pods on %d nodes: want 3 to 100 for each", s.Pods, s.Nodes)
	case s.Budgets < 1 || s.Budgets > s.Pods/10:
		return fmt.Errorf("a synthetic cluster of %d budgets for %d pods: want 1 to a tenth", s.Budgets, s.Pods)
	case !(s.Load > 0 && s.Load <= 0.9):
		return fmt.Errorf("a synthetic cluster with a load of %v: want up to 0.9", s.Load)
	}
	return nil
}

// Objects makes the cluster. Objects share nothing that can be changed.
func (s Shape) Objects() ([]runtime.Object, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	m := &maker{Shape: s, rand: rand.New(rand.NewPCG(s.Seed, uint64(s.Nodes)))} //nolint:gosec // it is to be the same every time
	m.makeNodes()
	workloads := m.workloads()
	for i := range workloads {
		if err := m.place(&workloads[i]); err != nil {
			return nil, err
		}
	}
	m.makeDaemonSets()
	return m.objects, nil
}

// maker makes one cluster.
type maker struct {
	Shape
	rand    *rand.Rand
	objects []runtime.Object
	hosts   []host
	serial  uint64
}

// host is a node with what is left of it.
type host struct {
	*corev1.Node
	zone          int
	cpu, mem, pod int // milli-CPU, MiB, pods
}

// workload is a Deployment or a StatefulSet to be made.
type workload struct {
	name, namespace string
	stateful        bool
	replicas        int
	cpu, mem        int // of each pod
	startup         time.Duration
	grace           int64
	apart           bool // never two pods on one node
	spread          bool // evenly over the zones
	volumes         bool
	budgeted        bool
}

// workloads decides on all of them. Every one with a budget has two pods at the
// least, so that no budget forbids every eviction.
func (m *maker) workloads() []workload {
	budgeted := m.Budgets
	all := make([]workload, budgeted+max(1, budgeted/10))
	left := m.Pods - daemonSets*m.Nodes
	workers := m.Nodes - controlPlanes
	var weights float64
	weight := make([]float64, len(all))
	for i := range all {
		w := &all[i]
		w.budgeted = i < budgeted
		w.namespace = fmt.Sprintf("team-%03d", i/10)
		w.startup = time.Duration(2+m.rand.IntN(29)) * time.Second
		w.grace = []int64{5, 10, 30, 30, 30, 60}[m.rand.IntN(6)]
		w.cpu = []int{1, 2, 2, 4, 5, 10}[m.rand.IntN(6)]
		w.mem = w.cpu * (50 + m.rand.IntN(100))
		switch kind := m.rand.IntN(100); {
		case kind < 15 && left > 20*len(all)/10:
			w.name, w.stateful, w.apart = fmt.Sprintf("db-%04d", i), true, true
			w.replicas = min(3+2*m.rand.IntN(2), workers/2)
			w.volumes = m.rand.IntN(3) == 0
			left -= w.replicas
			continue
		case kind < 20:
			w.apart = true
		case kind < 40:
			w.spread = true
		}
		w.name = fmt.Sprintf("web-%04d", i)
		weight[i] = math.Exp2(4 * m.rand.Float64()) // the largest are 16 times the smallest
		weights += weight[i]
	}
	// What the others are to share goes by weight; the last takes the remainder.
	rest, last := left, -1
	for i := range all {
		w := &all[i]
		if w.stateful {
			continue
		}
		w.replicas = max(2, int(float64(left)*weight[i]/weights))
		if w.apart {
			w.replicas = min(w.replicas, max(2, workers/4))
		}
		if w.replicas > rest {
			w.replicas = max(0, rest)
		}
		rest -= w.replicas
		if !w.apart {
			last = i
		}
	}
	if last >= 0 {
		all[last].replicas += rest
	}
	m.scale(all, workers)
	return all
}

// scale sets the requests so that they add up to the Load.
func (m *maker) scale(all []workload, workers int) {
	cpu, mem := 0, 0
	for _, w := range all {
		cpu, mem = cpu+w.replicas*w.cpu, mem+w.replicas*w.mem
	}
	for i := range all {
		w := &all[i]
		w.cpu = max(1, int(float64(w.cpu)*m.Load*float64(workers*milliCPU)/float64(cpu)))
		w.mem = max(1, int(float64(w.mem)*m.Load*float64(workers*mebibytes)/float64(mem)))
	}
}

// uid returns an identity of the usual length.
func (m *maker) uid() string {
	m.serial++
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", m.Seed, m.serial)
}
