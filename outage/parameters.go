// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"refit.dev/refit/internal/hint"
)

// Setting is a value and where it is from: "flag of kube-controller-manager on
// node cp-1", "default of v1.36", "given with --node-eviction-rate".
type Setting[T any] struct {
	Value  T
	Source string
	// Assumed: nothing in the cluster tells it, so the default was taken.
	Assumed bool
}

// Parameters are the settings that decide. ReadParameters finds them, Set changes
// them. Those of kube-controller-manager are in cmd/kube-controller-manager/app/options
// (nodelifecyclecontroller.go, attachdetachcontroller.go), those of kube-apiserver
// in plugin/pkg/admission/defaulttolerationseconds/admission.go.
type Parameters struct {
	// GracePeriod is for how long a lease may be silent, MonitorPeriod how often
	// that is looked at.
	GracePeriod   Setting[time.Duration]
	MonitorPeriod Setting[time.Duration]
	// LeaseRenewal is how often a kubelet renews its lease: a quarter of
	// nodeLeaseDurationSeconds of its configuration, 40 by default
	// (pkg/kubelet/kubelet.go). No API tells it.
	LeaseRenewal Setting[time.Duration]
	// NotReady and Unreachable are how long pods that say nothing tolerate the two
	// taints. They are written into each pod when it is created: pods that exist
	// keep what they have.
	NotReady    Setting[time.Duration]
	Unreachable Setting[time.Duration]
	// EvictionRate is how many nodes of a zone are tainted per second, SecondaryRate
	// how many while a large part of the zone is gone.
	EvictionRate  Setting[float64]
	SecondaryRate Setting[float64]
	// LargeZone is the size up to which the latter is none at all, UnhealthyZone
	// what a large part is, of 1.
	LargeZone     Setting[int]
	UnhealthyZone Setting[float64]
	// KeepAttached: volumes of a node that is not Ready are not detached by force.
	KeepAttached Setting[bool]
	// EvictionTimeout is set for servers before 1.27 that run without the taint
	// manager: pods are then deleted so long after their node became Unknown,
	// whatever they tolerate. nil: tolerations decide.
	EvictionTimeout *Setting[time.Duration]

	// inForce is what Unreachable was before Set gave another one: pods that carry
	// it are taken to be those that said nothing. nil: the API server adds nothing to
	// such pods, so that those without a toleration are they.
	inForce *time.Duration
}

// Row is a parameter for people and for JSON.
type Row struct {
	Name    string `json:"name"` // that of the flag, without dashes
	Value   string `json:"value"`
	Source  string `json:"source"`
	Assumed bool   `json:"assumed,omitempty"`
}

// The names of the flags, which are those of the components.
const (
	flagGracePeriod     = "node-monitor-grace-period"
	flagMonitorPeriod   = "node-monitor-period"
	flagLeaseRenewal    = "lease-renewal"
	flagNotReady        = "default-not-ready-toleration-seconds"
	flagUnreachable     = "default-unreachable-toleration-seconds"
	flagEvictionRate    = "node-eviction-rate"
	flagSecondaryRate   = "secondary-node-eviction-rate"
	flagLargeZone       = "large-cluster-size-threshold"
	flagUnhealthyZone   = "unhealthy-zone-threshold"
	flagKeepAttached    = "disable-force-detach-on-timeout"
	flagEvictionTimeout = "pod-eviction-timeout"
)

// Rows lists the parameters in the order in which they come to bear.
func (p *Parameters) Rows() []Row {
	rows := []Row{
		row(flagLeaseRenewal, p.LeaseRenewal), row(flagGracePeriod, p.GracePeriod), row(flagMonitorPeriod, p.MonitorPeriod),
		row(flagEvictionRate, p.EvictionRate), row(flagSecondaryRate, p.SecondaryRate),
		row(flagUnhealthyZone, p.UnhealthyZone), row(flagLargeZone, p.LargeZone),
		row(flagNotReady, p.NotReady), row(flagUnreachable, p.Unreachable), row(flagKeepAttached, p.KeepAttached),
	}
	if p.EvictionTimeout != nil {
		rows = append(rows, row(flagEvictionTimeout, *p.EvictionTimeout))
	}
	return rows
}

func row[T any](name string, s Setting[T]) Row {
	value := fmt.Sprint(s.Value)
	if d, ok := any(s.Value).(time.Duration); ok {
		value = span(d)
	}
	return Row{Name: name, Value: value, Source: s.Source, Assumed: s.Assumed}
}

// Given are the names of the parameters that can be given: all but those that only
// old servers have.
func Given() []string {
	return []string{
		flagGracePeriod, flagMonitorPeriod, flagLeaseRenewal, flagUnreachable, flagEvictionRate, flagSecondaryRate,
		flagUnhealthyZone, flagLargeZone, flagKeepAttached,
	}
}

// Longest is how long a duration may be that is given: longer ones are mistakes.
const Longest = 365 * 24 * time.Hour

// Set gives a parameter by the name of its flag, which is one of Rows. A value
// that cannot be read, or that makes no sense, is an error.
func (p *Parameters) Set(name, value string) error {
	if err := p.set(name, value, "given with --"+name); err != nil {
		return hint.Wrap(fmt.Errorf("--%s %q: %w", name, value, err), "say a value that the component itself would take")
	}
	return nil
}

// set reads the value as the component does that has the flag.
func (p *Parameters) set(name, value, source string) error {
	switch name {
	case flagGracePeriod:
		return setDuration(&p.GracePeriod, value, source)
	case flagMonitorPeriod:
		return setDuration(&p.MonitorPeriod, value, source)
	case flagLeaseRenewal:
		return setDuration(&p.LeaseRenewal, value, source)
	case flagNotReady:
		return setSeconds(&p.NotReady, value, source)
	case flagUnreachable:
		return setSeconds(&p.Unreachable, value, source)
	case flagEvictionRate:
		return setNumber(&p.EvictionRate, value, source, 1e6)
	case flagSecondaryRate:
		return setNumber(&p.SecondaryRate, value, source, 1e6)
	case flagUnhealthyZone:
		return setNumber(&p.UnhealthyZone, value, source, 1e6)
	case flagLargeZone:
		n, err := strconv.ParseInt(value, 0, 32)
		if err != nil {
			return errors.New("it is no whole number")
		}
		p.LargeZone = Setting[int]{Value: int(n), Source: source}
	case flagKeepAttached:
		is, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("it is neither true nor false")
		}
		p.KeepAttached = Setting[bool]{Value: is, Source: source}
	case flagEvictionTimeout:
		p.EvictionTimeout = &Setting[time.Duration]{}
		return setDuration(p.EvictionTimeout, value, source)
	default:
		return errors.New("there is no such parameter")
	}
	return nil
}

func setDuration(s *Setting[time.Duration], value, source string) error {
	d, err := time.ParseDuration(value)
	switch {
	case err != nil:
		return errors.New("it is no duration such as 50s or 5m")
	case d <= 0 || d > Longest:
		return fmt.Errorf("want more than nothing, and no more than %s", span(Longest))
	}
	*s = Setting[time.Duration]{Value: d, Source: source}
	return nil
}

// setSeconds reads whole seconds, as kube-apiserver does; a duration is understood, too.
func setSeconds(s *Setting[time.Duration], value, source string) error {
	var d time.Duration
	if n, err := strconv.ParseInt(value, 0, 64); err == nil {
		if n > int64(Longest/time.Second) {
			return fmt.Errorf("want no more than %.0f seconds", Longest.Seconds())
		}
		d = time.Duration(n) * time.Second
	} else if d, err = time.ParseDuration(value); err != nil {
		return errors.New("it is no number of seconds")
	}
	if d < 0 || d > Longest || d%time.Second != 0 {
		return fmt.Errorf("want whole seconds from 0 to %.0f", Longest.Seconds())
	}
	*s = Setting[time.Duration]{Value: d, Source: source}
	return nil
}

func setNumber(s *Setting[float64], value, source string, most float64) error {
	f, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil:
		return errors.New("it is no number")
	case math.IsNaN(f) || f < 0 || f > most:
		return errors.New("want a number from 0 on")
	}
	*s = Setting[float64]{Value: f, Source: source}
	return nil
}
