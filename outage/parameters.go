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
	"refit.dev/refit/toleration"
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
// (nodelifecyclecontroller.go, attachdetachcontroller.go, and generic.go of
// k8s.io/controller-manager/options), those of kube-apiserver
// in plugin/pkg/admission/defaulttolerationseconds/admission.go.
type Parameters struct {
	// GracePeriod is for how long a lease may be silent, MonitorPeriod how often
	// that is looked at.
	GracePeriod   Setting[time.Duration]
	MonitorPeriod Setting[time.Duration]
	// LeaseRenewal is how often a kubelet renews its lease: a quarter of
	// nodeLeaseDurationSeconds of its configuration, 40 by default
	// (pkg/kubelet/kubelet.go). ReadLeases takes it from the leases.
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
	// ClientRate is how many calls per second each controller may make, ClientBurst how
	// many at once after a rest (k8s.io/component-base/config/v1alpha1/defaults.go). A
	// rate below 0 is no limit.
	ClientRate  Setting[float64]
	ClientBurst Setting[int]
	// KeepAttached: volumes of a node that is not Ready are not detached by force.
	KeepAttached Setting[bool]
	// EvictionTimeout is set for servers before 1.27 that run without the taint
	// manager: pods are then deleted so long after their node became Unknown,
	// whatever they tolerate. nil: tolerations decide.
	EvictionTimeout *Setting[time.Duration]

	// Off are the controllers that do not run.
	Off Setting[Off]

	// minor is the version of the API server; 0: not known.
	minor int
	// together: the taint manager is a part of the node lifecycle controller.
	together bool

	// inForce is what NotReady and Unreachable were before Set gave others: pods that
	// carry them are taken to be those that said nothing. nil: the API server adds nothing
	// to such pods, so that those without a toleration are they.
	inForce *inForce
}

type inForce struct{ notReady, unreachable time.Duration }

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
	flagNotReady        = toleration.NotReadyFlag
	flagUnreachable     = toleration.UnreachableFlag
	flagEvictionRate    = "node-eviction-rate"
	flagSecondaryRate   = "secondary-node-eviction-rate"
	flagLargeZone       = "large-cluster-size-threshold"
	flagUnhealthyZone   = "unhealthy-zone-threshold"
	flagClientRate      = "kube-api-qps"
	flagClientBurst     = "kube-api-burst"
	flagKeepAttached    = "disable-force-detach-on-timeout"
	flagControllers     = "controllers"
	flagEvictionTimeout = "pod-eviction-timeout"
)

// Rows lists the parameters in the order in which they come to bear.
func (p *Parameters) Rows() []Row {
	rows := []Row{
		row(flagLeaseRenewal, p.LeaseRenewal), row(flagGracePeriod, p.GracePeriod), row(flagMonitorPeriod, p.MonitorPeriod),
		row(flagEvictionRate, p.EvictionRate), row(flagSecondaryRate, p.SecondaryRate),
		row(flagUnhealthyZone, p.UnhealthyZone), row(flagLargeZone, p.LargeZone),
		row(flagClientRate, p.ClientRate), row(flagClientBurst, p.ClientBurst),
		row(flagNotReady, p.NotReady), row(flagUnreachable, p.Unreachable), row(flagKeepAttached, p.KeepAttached), row(flagControllers, p.Off),
	}
	if p.EvictionTimeout != nil {
		rows = append(rows, row(flagEvictionTimeout, *p.EvictionTimeout))
	}
	return rows
}

func row[T any](name string, s Setting[T]) Row {
	value := fmt.Sprint(s.Value)
	if d, ok := any(s.Value).(time.Duration); ok {
		if value = span(d); d == forEver {
			value = "for ever"
		}
	}
	return Row{Name: name, Value: value, Source: s.Source, Assumed: s.Assumed}
}

// Given are the names of the parameters that can be given. The last one makes the
// servers old ones: see EvictionTimeout.
func Given() []string {
	return []string{
		flagGracePeriod, flagMonitorPeriod, flagLeaseRenewal, flagNotReady, flagUnreachable, flagEvictionRate, flagSecondaryRate,
		flagUnhealthyZone, flagLargeZone, flagClientRate, flagClientBurst, flagKeepAttached, flagControllers, flagEvictionTimeout,
	}
}

// Longest is how long a duration may be that is given: longer ones are mistakes.
const Longest = 365 * 24 * time.Hour

// Set gives a parameter by the name of its flag, which is one of Given. A value
// that cannot be read, or that makes no sense, is an error, and changes nothing.
func (p *Parameters) Set(name, value string) error {
	if err := p.set(name, value, "given with --"+name, within); err != nil {
		return hint.Wrap(fmt.Errorf("--%s %q: %w", name, value, err), "say a value that the component itself would take")
	}
	return nil
}

// bounds say whether a value may be anything that the component takes.
type bounds bool

const (
	// within reason: what is given by a person may be a mistake.
	within bounds = true
	// anything: it is in force, whether it makes sense or not.
	anything bounds = false
)

// set reads the value as the component does that has the flag.
func (p *Parameters) set(name, value, source string, b bounds) error {
	switch name {
	case flagGracePeriod:
		return setDuration(&p.GracePeriod, value, source, b)
	case flagMonitorPeriod:
		return setDuration(&p.MonitorPeriod, value, source, b)
	case flagLeaseRenewal:
		return setDuration(&p.LeaseRenewal, value, source, b)
	case flagNotReady:
		return setSeconds(&p.NotReady, value, source)
	case flagUnreachable:
		return setSeconds(&p.Unreachable, value, source)
	case flagEvictionRate:
		return setNumber(&p.EvictionRate, value, source, b)
	case flagSecondaryRate:
		return setNumber(&p.SecondaryRate, value, source, b)
	case flagUnhealthyZone:
		return setNumber(&p.UnhealthyZone, value, source, b)
	case flagClientRate:
		return setClientRate(&p.ClientRate, value, source, b)
	case flagLargeZone:
		return setWhole(&p.LargeZone, value, source)
	case flagClientBurst:
		return setWhole(&p.ClientBurst, value, source)
	case flagKeepAttached:
		is, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("it is neither true nor false")
		}
		p.KeepAttached = Setting[bool]{Value: is, Source: source}
	case flagControllers:
		if b == within {
			if err := checkControllers(value); err != nil {
				return err
			}
		}
		p.Off = Setting[Off]{Value: readOff(value, p.together), Source: source}
	case flagEvictionTimeout:
		if p.minor >= tolerationsOnly {
			return fmt.Errorf("kube-controller-manager has had no such flag since v1.%d, and the API server is v1.%d: tolerations decide", tolerationsOnly, p.minor)
		}
		var timeout Setting[time.Duration]
		if err := setDuration(&timeout, value, source, b); err != nil {
			return err
		}
		p.EvictionTimeout = &timeout
	default:
		return errors.New("there is no such parameter")
	}
	return nil
}

func setDuration(s *Setting[time.Duration], value, source string, b bounds) error {
	d, err := time.ParseDuration(value)
	switch {
	case err != nil:
		return errors.New("it is no duration such as 50s or 5m")
	case b == within && (d <= 0 || d > Longest), d <= 0:
		return fmt.Errorf("want more than nothing, and no more than %s", span(Longest))
	}
	*s = Setting[time.Duration]{Value: d, Source: source}
	return nil
}

// forEver is the value of a default of which package toleration says so.
const forEver = time.Duration(math.MaxInt64)

// setSeconds reads whole seconds, or a duration, of a person; package toleration reads those
// of kube-apiserver.
func setSeconds(s *Setting[time.Duration], value, source string) error {
	n, err := strconv.ParseInt(value, 0, 64)
	d := time.Duration(n) * time.Second
	if err != nil {
		if d, err = time.ParseDuration(value); err != nil {
			return errors.New("it is no number of seconds")
		}
		n = int64(d / time.Second)
	}
	if d < 0 || n < 0 || n > int64(Longest/time.Second) || d%time.Second != 0 {
		return fmt.Errorf("want whole seconds from 0 to %.0f", Longest.Seconds())
	}
	*s = Setting[time.Duration]{Value: d, Source: source}
	return nil
}

func setWhole(s *Setting[int], value, source string) error {
	n, err := strconv.ParseInt(value, 0, 32)
	if err != nil {
		return errors.New("it is no whole number")
	}
	*s = Setting[int]{Value: int(n), Source: source}
	return nil
}

// Rates that make sense: less than one node in eleven days is none.
const (
	lowest  = 1e-6
	highest = 1e6
)

func setNumber(s *Setting[float64], value, source string, b bounds) error {
	f, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil:
		return errors.New("it is no number")
	case math.IsNaN(f) || f < 0 && b == within || f > highest:
		return errors.New("want a number from 0 on")
	case f < lowest && f > 0 && b == within:
		return fmt.Errorf("want 0, or %g or more", lowest)
	}
	*s = Setting[float64]{Value: max(0, f), Source: source}
	return nil
}

// setClientRate reads the rate of calls, which may be below 0: no limit.
func setClientRate(s *Setting[float64], value, source string, b bounds) error {
	f, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil:
		return errors.New("it is no number")
	case math.IsNaN(f) || math.Abs(f) > highest || b == within && (f == 0 || f > 0 && f < lowest):
		return errors.New("want a number above 0, or one below 0 for no limit")
	}
	*s = Setting[float64]{Value: f, Source: source}
	return nil
}
