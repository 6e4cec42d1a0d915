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
	"refit.dev/refit/internal/phrase"
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

// Plugin is the admission plugin that adds the defaults; it is on unless it is switched
// off.
const Plugin = "DefaultTolerationSeconds"

// builtIn is what both flags are if they are not given, in every version.
const builtIn = 300

// Default is how long pods tolerate one of the Taints whose template says nothing.
type Default struct {
	Taint string `json:"taint"`
	Flag  string `json:"flag"`
	// Seconds is what new pods get; nil if nothing is added to them, so that they
	// have no time at all. Of several API servers it is what the first one says.
	Seconds *int64 `json:"seconds"`
	// Source is where that is from, Assumed that nothing in the cluster tells, or nothing that
	// can be understood.
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
	// Misread: it has the flag with a value that is no number, and the default is assumed.
	Misread bool `json:"misread,omitempty"`
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
			d.Servers = append(d.Servers, read(p, FlagOf(taint), of))
		}
		if len(d.Servers) > 0 {
			d.Seconds, d.Source, d.Assumed = d.Servers[0].Seconds, d.Servers[0].Source, d.Servers[0].Misread
		}
		defaults[i] = d
	}
	return defaults
}

// read returns what a process has for a flag. It cannot have started with a value
// that is no number, so that such a one was not read right: the default is assumed.
func read(p cluster.ControlPlaneProcess, flag, otherwise string) Server {
	x := Server{Where: p.Where().String(), Seconds: ptr.To[int64](builtIn), Source: otherwise}
	if off, by := p.PluginOff(Plugin); off {
		x.Seconds, x.Source = nil, "flag "+by+" of "+p.String()
		return x
	}
	text, given := p.Flags[flag]
	if !given {
		return x
	}
	seconds, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		x.Source, x.Misread = otherwise+"; flag of "+p.String()+" is not understood: "+text, true
		return x
	}
	x.Seconds, x.Source = ptr.To(max(0, seconds)), "flag of "+p.String()
	return x
}

// Remarks say what about the Defaults of a cluster is not certain: API servers that do not
// agree, and flags that are not understood.
func Remarks(defaults [2]Default) []string {
	var out []string
	without := 0
	for _, s := range defaults[0].Servers { // for both taints alike
		if s.Seconds == nil {
			without++
		}
	}
	if of := len(defaults[0].Servers); without > 0 && without < of {
		out = append(out, fmt.Sprintf("the admission plugin %s runs in %d of %d API servers, so that it is chance whether a new pod gets tolerations", Plugin, of-without, of))
	}
	for _, d := range defaults {
		var given []Server // those that add something
		var each []string
		for _, s := range d.Servers {
			if s.Misread {
				out = append(out, fmt.Sprintf("%s: %s", d.Flag, s.Source))
			}
			if s.Seconds != nil {
				given = append(given, s)
				each = append(each, fmt.Sprintf("%s %s", s.Where, Default{Taint: d.Taint, Seconds: s.Seconds}.Patience()))
			}
		}
		if slices.ContainsFunc(given, func(s Server) bool { return *s.Seconds != *given[0].Seconds }) {
			out = append(out, fmt.Sprintf("the API servers do not agree on %s, so that it is chance what a new pod gets: %s", d.Flag, phrase.Few(each, len(each))))
		}
	}
	return out
}
