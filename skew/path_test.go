// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"refit.dev/refit/skew"
)

// TestPath runs the transcripts of testdata/path. The input of `path to=VERSION
// [workers=each] [unsupported]` is one line for each node or instance:
//
//	control-plane NAME VERSION [local]   API server, controller manager and scheduler tied to it, kube-proxy, kubelet (tied too: local)
//	worker NAME VERSION                  kubelet and kube-proxy
//	COMPONENT [NAME] VERSION [...]       an instance, as in testdata/check; it takes the place of the one of its name
func TestPath(t *testing.T) {
	datadriven.Walk(t, "testdata/path", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var text, workers string
			d.ScanArgs(t, "to", &text)
			d.MaybeScanArgs(t, "workers", &workers)
			to, err := skew.Parse(text)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			var c skew.Components
			for line := range strings.Lines(d.Input) {
				if err := addNode(&c, strings.Fields(line)); err != nil {
					d.Fatalf(t, "%s: %v", strings.TrimSpace(line), err)
				}
			}
			found, refusals := skew.FindPath(c, skew.Goal{Version: to, Workers: skew.WorkerHops(workers), AllowUnsupported: d.HasArg("unsupported")})
			return drawPath(found, refusals)
		})
	})
}

func drawPath(path skew.Path, refusals []skew.Refusal) string {
	var b strings.Builder
	for _, r := range refusals {
		fmt.Fprintf(&b, "refused: %s\n  %s\n  -> %s\n", r.Reason, r.Message, r.Hint)
	}
	for _, h := range path.Hops {
		fmt.Fprintf(&b, "%s\n", h.To)
		for _, m := range h.Moves {
			node := m.Node
			if node == "" {
				node = "everywhere"
			}
			fmt.Fprintf(&b, "  %-21s %-10s", m.Stage, node)
			for _, c := range m.Components {
				fmt.Fprintf(&b, " %s", strings.TrimPrefix(string(c), "kube-"))
			}
			b.WriteString("\n")
		}
	}
	if b.Len() == 0 {
		return "there already\n"
	}
	return b.String()
}

// addNode adds a line of a transcript.
func addNode(c *skew.Components, words []string) error {
	control := words[0] == "control-plane"
	if !control && words[0] != "worker" {
		return replace(c, words)
	}
	name, rest := words[1], words[3:]
	version, err := skew.Parse(words[2])
	if err != nil {
		return err
	}
	i, kubelet := skew.Instance{Name: name, Version: version}, skew.Instance{Name: name, Version: version}
	if len(rest) == 1 && rest[0] == "local" {
		kubelet.APIServer = name
	} else if len(rest) > 0 {
		return fmt.Errorf("%q is left over", rest)
	}
	c.Kubelets, c.KubeProxies = append(c.Kubelets, kubelet), append(c.KubeProxies, i)
	if control {
		c.APIServers = append(c.APIServers, i)
		i.APIServer = name
		c.ControllerManagers, c.Schedulers = append(c.ControllerManagers, i), append(c.Schedulers, i)
	}
	return nil
}

// replace puts an instance in the place of the one of that component and name.
func replace(c *skew.Components, words []string) error {
	var one skew.Components
	if err := add(&one, words); err != nil {
		return err
	}
	for n, list := range lists(&one) {
		for _, i := range *list {
			all, found := lists(c)[n], false
			for k := range *all {
				if (*all)[k].Name == i.Name {
					(*all)[k], found = i, true
				}
			}
			if !found {
				*all = append(*all, i)
			}
		}
	}
	return nil
}

func lists(c *skew.Components) []*[]skew.Instance {
	return []*[]skew.Instance{&c.APIServers, &c.ControllerManagers, &c.Schedulers, &c.CloudControllerManagers,
		&c.Kubelets, &c.KubeProxies, &c.Kubectls}
}

// TestMatrix draws the policy as a table, pair by pair: what Check says of a component
// of one minor beside a peer of another.
func TestMatrix(t *testing.T) {
	datadriven.RunTest(t, "testdata/matrix/policy", func(t *testing.T, d *datadriven.TestData) string {
		from, to := 0, 0
		d.ScanArgs(t, "from", &from)
		d.ScanArgs(t, "to", &to)
		for _, p := range allPairs() {
			if string(p.rule) == d.Cmd {
				return drawMatrix(from, to, func(component, peer int) bool {
					return len(byRule(skew.Check(p.cluster(at("n", component), at("n", peer))), p.rule)) == 0
				})
			}
		}
		d.Fatalf(t, "no rule %q", d.Cmd)
		return ""
	})
}

// allPairs are the rules of pairs, and those between two of a kind and on one node.
func allPairs() []pair {
	all := pairs()
	all = append(all, pair{skew.RuleAPIServers, sameCluster, func(i skew.Instance, peers ...skew.Instance) skew.Components {
		return skew.Components{APIServers: append(peers, i)}
	}})
	return append(all, pair{skew.RuleKubeProxyKubelet, besideKubelet, func(i skew.Instance, peers ...skew.Instance) skew.Components {
		return skew.Components{KubeProxies: []skew.Instance{i}, Kubelets: peers}
	}})
}

func drawMatrix(from, to int, allowed func(component, peer int) bool) string {
	var b strings.Builder
	b.WriteString("      ")
	for peer := from; peer <= to; peer++ {
		fmt.Fprintf(&b, " 1.%d", peer)
	}
	for component := from; component <= to; component++ {
		fmt.Fprintf(&b, "\n  1.%d", component)
		for peer := from; peer <= to; peer++ {
			mark := "."
			if allowed(component, peer) {
				mark = "yes"
			}
			fmt.Fprintf(&b, " %4s", mark)
		}
	}
	return b.String() + "\n"
}
