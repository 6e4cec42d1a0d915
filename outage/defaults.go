// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// Minors at which defaults changed.
const (
	// longGrace: --node-monitor-grace-period is 50 s, before that 40 s
	// (kubernetes/kubernetes#126287, in 1.32).
	longGrace = 32
	// tolerationsOnly: --pod-eviction-timeout and --enable-taint-manager are gone
	// (kubernetes/kubernetes#115840). The former did nothing unless the latter was
	// false, since evictions by taints became the only default in 1.18.
	tolerationsOnly = 27
)

// ReadParameters returns the parameters in force: from the command lines of the
// components that run as pods, and otherwise the defaults of the version of the
// API server. Defaults are part of the binary: an emulated version does not change
// them. remarks say what could not be read, or does not agree.
func ReadParameters(s *cluster.Snapshot) (p Parameters, remarks []string) {
	minor, of := minorOf(s)
	p = defaults(minor, of)
	processes := cluster.ControlPlaneFlags(s.Pods)
	for _, x := range []struct {
		component string
		flags     []string
	}{
		{cluster.APIServer, []string{flagNotReady, flagUnreachable}},
		{cluster.ControllerManager, []string{
			flagGracePeriod, flagMonitorPeriod, flagEvictionRate, flagSecondaryRate, flagUnhealthyZone, flagLargeZone, flagKeepAttached,
		}},
	} {
		var of []cluster.ControlPlaneProcess
		for _, process := range processes {
			if process.Component == x.component {
				of = append(of, process)
			}
		}
		if len(of) == 0 {
			p.assume(x.flags)
			remarks = append(remarks, fmt.Sprintf("%s is not to be seen as a pod, so its flags are assumed to be the defaults", x.component))
			continue
		}
		for _, flag := range x.flags {
			remarks = append(remarks, p.read(of, flag)...)
		}
		if x.component == cluster.ControllerManager && minor < tolerationsOnly {
			remarks = append(remarks, p.readOld(of)...)
		}
	}
	p.inForce = ptr.To(p.Unreachable.Value)
	return p, append(remarks, p.withoutPlugin(processes)...)
}

// tolerationPlugin is the admission plugin of kube-apiserver that adds the tolerations.
const tolerationPlugin = "DefaultTolerationSeconds"

// withoutPlugin takes down that pods which say nothing are given nothing, if the first
// API server was started so.
func (p *Parameters) withoutPlugin(processes []cluster.ControlPlaneProcess) (remarks []string) {
	servers, without, by := 0, 0, ""
	for _, process := range processes {
		if process.Component != cluster.APIServer {
			continue
		}
		if off, flag := process.PluginOff(tolerationPlugin); off {
			if without++; servers == 0 {
				by = "flag " + flag + " of " + source(process)
			}
		}
		servers++
	}
	if without > 0 && without < servers {
		remarks = append(remarks, fmt.Sprintf("the admission plugin %s runs in %d of %d instances of %s: it depends on which one creates a pod whether that is given tolerations",
			tolerationPlugin, servers-without, servers, cluster.APIServer))
	}
	if by == "" {
		return remarks
	}
	p.NotReady, p.Unreachable = Setting[time.Duration]{Source: by}, Setting[time.Duration]{Source: by}
	p.inForce = nil
	return append(remarks, fmt.Sprintf("the admission plugin %s is off: pods that say nothing are deleted as soon as their node is tainted", tolerationPlugin))
}

// read takes a flag from the first process that has it.
func (p *Parameters) read(processes []cluster.ControlPlaneProcess, flag string) (remarks []string) {
	set := false
	for _, process := range processes {
		value, given := process.Flags[flag]
		if !given {
			continue
		}
		where := source(process)
		if !set {
			if err := p.set(flag, value, "flag of "+where); err != nil {
				remarks = append(remarks, fmt.Sprintf("--%s=%s of %s is not understood (%s): the default is assumed", flag, value, where, err))
				p.assume([]string{flag})
			}
			set = true
		}
	}
	values := map[string]bool{}
	for _, process := range processes {
		values[process.Flags[flag]] = true
	}
	if len(values) > 1 {
		remarks = append(remarks, fmt.Sprintf("the instances of %s do not agree on --%s: it depends on which one is the leader", processes[0].Component, flag))
	}
	return remarks
}

func source(process cluster.ControlPlaneProcess) string {
	where := process.Where()
	if where.Kind == "Node" {
		return process.Component + " on " + where.Name
	}
	return process.Component + " in pod " + where.Namespace + "/" + where.Name
}

// readOld looks whether an old controller manager runs without the taint manager.
func (p *Parameters) readOld(processes []cluster.ControlPlaneProcess) (remarks []string) {
	i := slices.IndexFunc(processes, func(x cluster.ControlPlaneProcess) bool {
		enabled, err := strconv.ParseBool(x.Flags["enable-taint-manager"])
		return err == nil && !enabled
	})
	if i < 0 {
		return nil
	}
	p.EvictionTimeout = &Setting[time.Duration]{Value: 5 * time.Minute, Source: p.MonitorPeriod.Source}
	return p.read(processes, flagEvictionTimeout)
}

// assume marks parameters as assumed.
func (p *Parameters) assume(flags []string) {
	for _, flag := range flags {
		switch flag {
		case flagGracePeriod:
			p.GracePeriod.Assumed = true
		case flagMonitorPeriod:
			p.MonitorPeriod.Assumed = true
		case flagNotReady:
			p.NotReady.Assumed = true
		case flagUnreachable:
			p.Unreachable.Assumed = true
		case flagEvictionRate:
			p.EvictionRate.Assumed = true
		case flagSecondaryRate:
			p.SecondaryRate.Assumed = true
		case flagUnhealthyZone:
			p.UnhealthyZone.Assumed = true
		case flagLargeZone:
			p.LargeZone.Assumed = true
		case flagKeepAttached:
			p.KeepAttached.Assumed = true
		}
	}
}

// minorOf is the minor version of the API server and how to call it.
func minorOf(s *cluster.Snapshot) (minor int, of string) {
	const newest = 37
	v, err := skew.Parse(s.Server)
	if err != nil {
		return newest, fmt.Sprintf("default of v1.%d", newest)
	}
	return v.Minor, fmt.Sprintf("default of v1.%d", v.Minor)
}

// defaults are those of RecommendedDefaultNodeLifecycleControllerConfiguration
// (pkg/controller/nodelifecycle/config/v1alpha1/defaults.go), of AddFlags of the
// options, and of the admission plugin DefaultTolerationSeconds.
func defaults(minor int, of string) Parameters {
	grace := 50 * time.Second
	if minor < longGrace {
		grace = 40 * time.Second
	}
	return Parameters{
		GracePeriod:   Setting[time.Duration]{Value: grace, Source: of},
		MonitorPeriod: Setting[time.Duration]{Value: 5 * time.Second, Source: of},
		LeaseRenewal:  Setting[time.Duration]{Value: 10 * time.Second, Source: "default of kubelets", Assumed: true},
		NotReady:      Setting[time.Duration]{Value: 300 * time.Second, Source: of},
		Unreachable:   Setting[time.Duration]{Value: 300 * time.Second, Source: of},
		EvictionRate:  Setting[float64]{Value: 0.1, Source: of},
		SecondaryRate: Setting[float64]{Value: 0.01, Source: of},
		LargeZone:     Setting[int]{Value: 50, Source: of},
		UnhealthyZone: Setting[float64]{Value: 0.55, Source: of},
		KeepAttached:  Setting[bool]{Value: false, Source: of},
		inForce:       ptr.To(300 * time.Second),
	}
}
