// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"refit.dev/refit/skew"
)

// The oracle is the published policy once more, in the words of the page and
// with nothing shared with the package: for each component a function of two
// minors that tells whether the pair is supported.
var (
	sameCluster = func(a, b int) bool { return a == b || a == b+1 || b == a+1 }

	ofNode = func(component, apiserver int) bool {
		switch apiserver - component {
		case 0, 1, 2:
			return true
		case 3:
			return component >= 25
		}
		return false
	}
	ofControlPlane = func(component, apiserver int) bool {
		return component == apiserver || component == apiserver-1
	}
	besideKubelet = func(proxy, kubelet int) bool {
		switch proxy - kubelet {
		case -2, -1, 0, 1, 2:
			return true
		case -3, 3:
			return proxy >= 25
		}
		return false
	}
)

const oldestMinor, newestMinor = 20, 40

func eachMinor(f func(minor int)) {
	for minor := oldestMinor; minor <= newestMinor; minor++ {
		f(minor)
	}
}

func at(name string, minor int) skew.Instance {
	return skew.Instance{Name: name, Version: skew.Version{Minor: minor}}
}

// byRule returns the violations of one rule.
func byRule(violations []skew.Violation, rule skew.Rule) []skew.Violation {
	return slices.DeleteFunc(violations, func(v skew.Violation) bool { return v.Rule != rule })
}

// pair is a rule between a component and a peer.
type pair struct {
	rule      skew.Rule
	supported func(component, peer int) bool
	cluster   func(component skew.Instance, peers ...skew.Instance) skew.Components
}

// pairs lists each rule between a component and a peer, with how to put the two
// in a cluster.
func pairs() []pair {
	return []pair{
		{skew.RuleKubelet, ofNode, func(i skew.Instance, servers ...skew.Instance) skew.Components {
			return skew.Components{APIServers: servers, Kubelets: []skew.Instance{i}}
		}},
		{skew.RuleKubeProxy, ofNode, func(i skew.Instance, servers ...skew.Instance) skew.Components {
			return skew.Components{APIServers: servers, KubeProxies: []skew.Instance{i}}
		}},
		{skew.RuleControllerManager, ofControlPlane, func(i skew.Instance, servers ...skew.Instance) skew.Components {
			return skew.Components{APIServers: servers, ControllerManagers: []skew.Instance{i}}
		}},
		{skew.RuleScheduler, ofControlPlane, func(i skew.Instance, servers ...skew.Instance) skew.Components {
			return skew.Components{APIServers: servers, Schedulers: []skew.Instance{i}}
		}},
		{skew.RuleCloudControllerManager, ofControlPlane, func(i skew.Instance, servers ...skew.Instance) skew.Components {
			return skew.Components{APIServers: servers, CloudControllerManagers: []skew.Instance{i}}
		}},
		{skew.RuleKubectl, sameCluster, func(i skew.Instance, servers ...skew.Instance) skew.Components {
			return skew.Components{APIServers: servers, Kubectls: []skew.Instance{i}}
		}},
	}
}

// Every component at every minor against one API server, and against two of any minors.
func TestEveryPairAndTriple(t *testing.T) {
	for _, p := range pairs() {
		t.Run(string(p.rule), func(t *testing.T) {
			judged := 0
			eachMinor(func(component int) {
				eachMinor(func(a int) {
					eachMinor(func(b int) {
						want := p.supported(component, a) && p.supported(component, b)
						servers := []skew.Instance{at("cp-1", a), at("cp-2", b)}
						if a == b {
							servers = servers[:1]
						}
						got := byRule(skew.Check(p.cluster(at("n", component), servers...)), p.rule)
						if (len(got) == 0) != want {
							t.Fatalf("component 1.%d, API servers 1.%d and 1.%d: %v, want supported = %v", component, a, b, got, want)
						}
						for _, v := range got {
							bounds(t, v, func(minor int) bool { return p.supported(minor, a) && p.supported(minor, b) })
						}
						judged++
					})
				})
			})
			if minors := newestMinor - oldestMinor + 1; judged != minors*minors*minors {
				t.Fatalf("judged %d", judged)
			}
		})
	}
}

// bounds holds the range that a violation gives against the oracle, minor by minor.
func bounds(t *testing.T, v skew.Violation, supported func(minor int) bool) {
	t.Helper()
	for minor := oldestMinor - 5; minor <= newestMinor+5; minor++ {
		if v.Allowed.Contains(minor) != supported(minor) {
			t.Fatalf("%s\n1.%d: in the range %v, want %v", v.Message(), minor, v.Allowed.Contains(minor), supported(minor))
		}
	}
}

func TestEveryPairOfAPIServers(t *testing.T) {
	eachMinor(func(a int) {
		eachMinor(func(b int) {
			got := byRule(skew.Check(skew.Components{APIServers: []skew.Instance{at("cp-1", a), at("cp-2", b)}}), skew.RuleAPIServers)
			if (len(got) == 0) != sameCluster(a, b) {
				t.Fatalf("API servers 1.%d and 1.%d: %v", a, b, got)
			}
			if len(got) > 1 || len(got) == 1 && got[0].Instance.Version.Minor != min(a, b) {
				t.Fatalf("API servers 1.%d and 1.%d: want just the older one named, got %v", a, b, got)
			}
		})
	})
}

func TestEveryPairOfProxyAndKubelet(t *testing.T) {
	eachMinor(func(proxy int) {
		eachMinor(func(kubelet int) {
			got := byRule(skew.Check(skew.Components{
				Kubelets:    []skew.Instance{at("n1", kubelet), at("n2", 1)},
				KubeProxies: []skew.Instance{at("n1", proxy)},
			}), skew.RuleKubeProxyKubelet)
			if (len(got) == 0) != besideKubelet(proxy, kubelet) {
				t.Fatalf("kube-proxy 1.%d beside kubelet 1.%d: %v", proxy, kubelet, got)
			}
			for _, v := range got {
				bounds(t, v, func(minor int) bool { return besideKubelet(minor, kubelet) })
			}
		})
	})
}

func TestEverySupportedMinor(t *testing.T) {
	eachMinor(func(newest int) {
		eachMinor(func(minor int) {
			got := skew.Check(skew.Components{Kubelets: []skew.Instance{at("n", minor)}, Newest: newest})
			want := minor == newest || minor == newest-1 || minor == newest-2 || minor > newest
			if (len(byRule(got, skew.RuleSupported)) == 0) != want {
				t.Fatalf("1.%d while 1.%d is the newest: %v", minor, newest, got)
			}
		})
	})
}

// The order in which a cluster is listed changes nothing, a cluster of one minor
// has nothing to tell about skew, and the input is left as it was.
func TestOrderDoesNotMatter(t *testing.T) {
	instance := rapid.Custom(func(t *rapid.T) skew.Instance {
		return skew.Instance{
			Name:      rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "name"),
			Version:   skew.Version{Minor: rapid.IntRange(33, 39).Draw(t, "minor"), Patch: rapid.IntRange(-1, 2).Draw(t, "patch")},
			Emulated:  skew.Version{Minor: rapid.SampledFrom([]int{0, 0, 0, 35}).Draw(t, "emulated")},
			APIServer: rapid.SampledFrom([]string{"", "a", "nowhere"}).Draw(t, "server"),
		}
	})
	several := rapid.SliceOfN(instance, 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		fields := func(c *skew.Components) []*[]skew.Instance {
			return []*[]skew.Instance{&c.APIServers, &c.ControllerManagers, &c.Schedulers, &c.CloudControllerManagers,
				&c.Kubelets, &c.KubeProxies, &c.Kubectls}
		}
		var listed, shuffled, before skew.Components
		for i, f := range fields(&listed) {
			*f = several.Draw(t, "instances")
			*fields(&shuffled)[i] = rapid.Permutation(*f).Draw(t, "permutation")
			*fields(&before)[i] = slices.Clone(*f)
		}
		text := func(c skew.Components) (lines []string) {
			for _, v := range skew.Check(c) {
				lines = append(lines, string(v.Rule)+" "+v.Message())
			}
			return lines
		}
		if a, b := text(listed), text(shuffled); !slices.Equal(a, b) {
			t.Fatalf("in order:\n%q\nshuffled:\n%q", a, b)
		}
		for i, f := range fields(&listed) {
			if !slices.Equal(*f, *fields(&before)[i]) {
				t.Fatal("Check changed its input")
			}
		}
	})
}
