// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"

	"refit.dev/refit/report"
	"refit.dev/refit/run"
)

// writePlan writes what a run is going to do, for a person to read before it does it.
func writePlan(w io.Writer, p *run.Prepared) error {
	s := p.Spec
	var b strings.Builder
	// What is long comes first: the plan has to be on the screen when it is asked about.
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning)
	}
	fmt.Fprintf(&b, "maintain %s of %d", things(len(s.Nodes), "node"), p.Total)
	if at := things(p.Slots, "node"); p.Slots < p.Total {
		fmt.Fprintf(&b, ", %s of the cluster out at a time at most (--max-unavailable %s)", at, s.MaxUnavailable)
	}
	if s.MaxUnavailablePerZone > 0 {
		fmt.Fprintf(&b, ", %s of one zone", things(s.MaxUnavailablePerZone, "node"))
	}
	if s.MaxMoves != run.DefaultMaxMoves {
		fmt.Fprintf(&b, ", %v moves per pod at most", s.MaxMoves)
	}
	b.WriteString(":\n")
	line := " "
	for _, n := range s.Nodes {
		if len(line)+1+len(n.Name) > 90 {
			fmt.Fprintln(&b, line)
			line = " "
		}
		line += " " + n.Name
	}
	fmt.Fprintln(&b, line)
	act := "reboot"
	if !s.Reboot {
		act = fmt.Sprintf("run %q for it", s.Command)
	}
	surge, soak := "", ""
	if s.SurgeSingletons {
		surge = "restart Deployments whose pods can never be evicted, "
	}
	if d := s.Soak.Duration; d > 0 {
		soak = fmt.Sprintf(", soak for %s", d)
	}
	fmt.Fprintf(&b, "each: cordon, %sdrain (%s in all), %s, wait until it is Ready, uncordon, wait until its workloads are back%s\n",
		surge, things(p.Pods, "pod"), act, soak)
	if s.Drain.DisableEviction {
		b.WriteString("warning: with --disable-eviction pods are deleted, whatever their disruption budgets say\n")
	}
	if len(p.Surges) > 0 {
		names := make([]string, len(p.Surges))
		for i, pod := range p.Surges {
			names[i] = pod.Namespace + "/" + pod.Name
		}
		fmt.Fprintf(&b, "their Deployments are restarted, because they can never be evicted: %s\n", strings.Join(names, ", "))
	}
	for _, o := range p.Out {
		fmt.Fprintf(&b, "out already: %s, %s\n", o.Node, o.Reason)
	}
	_, err := io.WriteString(w, report.Printable(b.String()))
	return err
}

// things writes a number of them.
func things(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
