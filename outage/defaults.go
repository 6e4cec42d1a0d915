// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
	"refit.dev/refit/toleration"
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
	if _, err := skew.Parse(s.Server); err == nil {
		p.minor = minor
	}
	remarks = p.readTolerations(toleration.Defaults(s))
	managers := slices.DeleteFunc(cluster.ControlPlaneFlags(s.Pods), func(x cluster.ControlPlaneProcess) bool { return x.Component != cluster.ControllerManager })
	flags := []string{
		flagGracePeriod, flagMonitorPeriod, flagEvictionRate, flagSecondaryRate, flagUnhealthyZone, flagLargeZone,
		flagClientRate, flagClientBurst, flagKeepAttached, flagControllers,
	}
	p.together = partOfNodeLifecycle(minor, "")
	if len(managers) == 0 {
		p.assume(flags)
		return p, append(remarks, unseen(cluster.ControllerManager))
	}
	for _, manager := range managers {
		p.together = p.together || partOfNodeLifecycle(minor, manager.Flags["feature-gates"])
	}
	for _, flag := range flags {
		remarks = append(remarks, p.read(managers, flag)...)
	}
	if minor < tolerationsOnly {
		remarks = append(remarks, p.readOld(managers, of)...)
	}
	return p, remarks
}

func unseen(component string) string {
	return component + " is not to be seen as a pod, so its flags are assumed to be the defaults"
}

// readTolerations takes over what API servers give to pods that say nothing.
func (p *Parameters) readTolerations(defaults [2]toleration.Default) (remarks []string) {
	if len(defaults[0].Servers) == 0 {
		remarks = append(remarks, unseen(cluster.APIServer))
	}
	for i, setting := range []*Setting[time.Duration]{&p.NotReady, &p.Unreachable} { // in the order of toleration.Taints
		d := &defaults[i]
		*setting = Setting[time.Duration]{Value: forEver, Source: d.Source, Assumed: d.Assumed}
		if patience := d.Patience(); patience.Seconds != nil {
			setting.Value = time.Duration(*patience.Seconds) * time.Second
		}
	}
	p.inForce = &inForce{p.NotReady.Value, p.Unreachable.Value}
	remarks = append(remarks, toleration.Remarks(defaults)...)
	if defaults[0].Seconds == nil { // and so is the other one
		p.inForce = nil
		remarks = append(remarks, fmt.Sprintf("the admission plugin %s is off: pods that say nothing are deleted as soon as their node is tainted", toleration.Plugin))
	}
	return remarks
}

// read takes a flag from the first process that has it and can be understood.
func (p *Parameters) read(processes []cluster.ControlPlaneProcess, flag string) (remarks []string) {
	set, given := false, false
	values := map[string]bool{}
	for _, process := range processes {
		value, has := process.Flags[flag]
		values[value] = true
		if given = given || has; !has || set {
			continue
		}
		where := process.String()
		if err := p.set(flag, value, "flag of "+where, anything); err != nil {
			remarks = append(remarks, fmt.Sprintf("--%s=%s of %s is not understood (%s)", flag, value, where, err))
			continue
		}
		set = true
	}
	if given && !set {
		last := len(remarks) - 1
		remarks[last] += ": the default is assumed"
		p.assume([]string{flag})
	}
	if len(values) > 1 {
		remarks = append(remarks, fmt.Sprintf("the instances of %s do not agree on --%s: it depends on which one is the leader", processes[0].Component, flag))
	}
	return remarks
}

// readOld looks whether an old controller manager runs without the taint manager.
func (p *Parameters) readOld(processes []cluster.ControlPlaneProcess, of string) (remarks []string) {
	i := slices.IndexFunc(processes, func(x cluster.ControlPlaneProcess) bool {
		enabled, err := strconv.ParseBool(x.Flags["enable-taint-manager"])
		return err == nil && !enabled
	})
	if i < 0 {
		return nil
	}
	p.EvictionTimeout = &Setting[time.Duration]{Value: 5 * time.Minute, Source: of}
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
		case flagEvictionRate:
			p.EvictionRate.Assumed = true
		case flagSecondaryRate:
			p.SecondaryRate.Assumed = true
		case flagUnhealthyZone:
			p.UnhealthyZone.Assumed = true
		case flagLargeZone:
			p.LargeZone.Assumed = true
		case flagClientRate:
			p.ClientRate.Assumed = true
		case flagClientBurst:
			p.ClientBurst.Assumed = true
		case flagEvictionTimeout:
			p.EvictionTimeout.Assumed = true
		case flagKeepAttached:
			p.KeepAttached.Assumed = true
		case flagControllers:
			p.Off.Assumed = true
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
// options. What pods tolerate that say nothing is the matter of package toleration.
func defaults(minor int, of string) Parameters {
	grace := 50 * time.Second
	if minor < longGrace {
		grace = 40 * time.Second
	}
	return Parameters{
		GracePeriod:   Setting[time.Duration]{Value: grace, Source: of},
		MonitorPeriod: Setting[time.Duration]{Value: 5 * time.Second, Source: of},
		LeaseRenewal:  Setting[time.Duration]{Value: 10 * time.Second, Source: "default of kubelets", Assumed: true},
		EvictionRate:  Setting[float64]{Value: 0.1, Source: of},
		SecondaryRate: Setting[float64]{Value: 0.01, Source: of},
		LargeZone:     Setting[int]{Value: 50, Source: of},
		UnhealthyZone: Setting[float64]{Value: 0.55, Source: of},
		ClientRate:    Setting[float64]{Value: 20, Source: of},
		ClientBurst:   Setting[int]{Value: 30, Source: of},
		KeepAttached:  Setting[bool]{Value: false, Source: of},
		Off:           Setting[Off]{Source: of},
	}
}
