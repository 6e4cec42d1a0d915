// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package toleration

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// The flags of kube-apiserver (RegisterFlags in
// plugin/pkg/admission/defaulttolerationseconds/admission.go).
const (
	NotReadyFlag    = "default-not-ready-toleration-seconds"
	UnreachableFlag = "default-unreachable-toleration-seconds"
)

// FlagOf is the flag of kube-apiserver for one of the Taints.
func FlagOf(taint string) string {
	if taint == corev1.TaintNodeNotReady {
		return NotReadyFlag
	}
	return UnreachableFlag
}

const (
	// builtIn is what both flags are if they are not given, in every version.
	builtIn = 300
	// plugin is the admission plugin that adds the defaults; it is on unless it is
	// switched off.
	plugin = "DefaultTolerationSeconds"
)

// Default is how long pods tolerate one of the Taints whose template says nothing.
type Default struct {
	Taint string `json:"taint"`
	Flag  string `json:"flag"`
	// Seconds is what new pods get; nil if nothing is added to them, so that they
	// have no time at all. Of several API servers it is what the first one says.
	Seconds *int64 `json:"seconds"`
	// Source is where that is from, Assumed that nothing in the cluster tells.
	Source  string `json:"source"`
	Assumed bool   `json:"assumed,omitempty"`
	// Servers are all API servers that are seen, sorted.
	Servers []Server `json:"servers,omitempty"`
}

// Server is what one API server has for a Default.
type Server struct {
	Where   string `json:"where"` // "Node cp-1"
	Seconds *int64 `json:"seconds"`
	Source  string `json:"source"`
}

// Agree tells whether all API servers have the same.
func (d Default) Agree() bool {
	return !slices.ContainsFunc(d.Servers, func(s Server) bool { return !ptr.Equal(s.Seconds, d.Seconds) })
}

// Patience is that of a pod which got the default.
func (d Default) Patience() Patience { return Of(nil, d.Taint, d.Seconds) }

// Defaults reads what is in force for both Taints, in their order.
func Defaults(s *cluster.Snapshot) [2]Default {
	var defaults [2]Default
	processes := slices.DeleteFunc(cluster.ControlPlaneFlags(s.Pods), func(p cluster.ControlPlaneProcess) bool {
		return p.Component != cluster.APIServer
	})
	of := "default of Kubernetes"
	if v, err := skew.Parse(s.Server); err == nil {
		of = fmt.Sprintf("default of v1.%d", v.Minor)
	}
	for i, taint := range Taints() {
		d := Default{Taint: taint, Flag: "--" + FlagOf(taint), Seconds: ptr.To[int64](builtIn), Source: of, Assumed: len(processes) == 0}
		for _, p := range processes {
			seconds, source := read(p, FlagOf(taint), of)
			d.Servers = append(d.Servers, Server{Where: p.Where().String(), Seconds: seconds, Source: source})
		}
		if len(d.Servers) > 0 {
			d.Seconds, d.Source = d.Servers[0].Seconds, d.Servers[0].Source
		}
		defaults[i] = d
	}
	return defaults
}

// read returns what a process has for a flag. It cannot have started with a value
// that is no number, so that such a one was not read right: the default is assumed.
func read(p cluster.ControlPlaneProcess, flag, otherwise string) (*int64, string) {
	where := " of kube-apiserver on " + p.Where().Name
	if off, by := p.PluginOff(plugin); off {
		return nil, "flag " + by + where
	}
	text, given := p.Flags[flag]
	if !given {
		return ptr.To[int64](builtIn), otherwise
	}
	seconds, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return ptr.To[int64](builtIn), otherwise + "; flag" + where + " is not understood: " + text
	}
	return ptr.To(max(0, seconds)), "flag" + where
}
