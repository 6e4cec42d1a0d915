// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"strings"
)

// Kind is why a step failed, for programs.
type Kind string

// The kinds of failures.
const (
	KindLocked         Kind = "locked"          // somebody else works with the package manager
	KindNoRepository   Kind = "no-repository"   // no repository of Kubernetes that could be used
	KindVersionMissing Kind = "version-missing" // the repository does not have the version
	KindNotInstalled   Kind = "not-installed"   // the package to upgrade is not there
	KindNewer          Kind = "newer"           // the host is beyond the target already
	KindBroken         Kind = "broken"          // half-installed packages
	KindDependencies   Kind = "dependencies"    // packages that do not fit together
	KindSignature      Kind = "signature"       // the repository's signature was not accepted
	KindDownload       Kind = "download"        // the network, or the repository's server
	KindDiskFull       Kind = "disk-full"
	KindPreflight      Kind = "preflight"   // kubeadm's checks
	KindPolicy         Kind = "policy"      // kubeadm's rules for versions
	KindStaticPod      Kind = "static-pod"  // a component did not come back
	KindEtcd           Kind = "etcd"        // etcd is not healthy, or was rolled back
	KindUnreachable    Kind = "unreachable" // kubeadm could not reach the API server
	KindNotAtVersion   Kind = "not-at-version"
	KindStopped        Kind = "stopped" // somebody ended the command
	KindOther          Kind = "other"
)

// Failure says why a step failed, in what state that leaves the host, and what to do.
type Failure struct {
	Node string
	Step StepName
	Kind Kind
	// Cause is what is the case, without a full stop.
	Cause string
	// State is in what state the host was found afterwards; empty if nothing was
	// changed, or it could not be looked at.
	State string
	// Hint is what to do.
	Hint string
	// Final tells that the step must not be taken again before a person has looked.
	Final bool
	// Preflight are the checks of kubeadm that failed.
	Preflight []PreflightError
	// Output is the end of what the command wrote.
	Output []string
	// Err is the error behind it; nil if a command failed by itself.
	Err error
}

// PreflightError is a check of kubeadm that failed.
type PreflightError struct {
	// Name is what --ignore-preflight-errors takes.
	Name    string
	Message string
}

func (f *Failure) Error() string {
	text := fmt.Sprintf("%s on %s: %s", f.Step, f.Node, f.Cause)
	if f.State != "" {
		text += "; the host now has " + f.State
	}
	return text
}

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// cannot is the failure of a step that was not begun.
func (t Target) cannot(step StepName, kind Kind, cause, hint string) *Failure {
	return &Failure{Node: t.Node, Step: step, Kind: kind, Cause: cause, Hint: hint}
}

// versionMissing is the failure of a package that is not offered.
func (t Target) versionMissing(s State, step StepName, name string) *Failure {
	cause := fmt.Sprintf("no repository of the host offers %s %s", name, t.Version)
	hint := fmt.Sprintf("look at what the repository serves to this host (mirrors lag behind), or plan for a version that it has; refresh with %s",
		map[Manager]string{Apt: "apt-get update", Dnf: "dnf makecache --refresh"}[s.Manager])
	if s.Offers != nil {
		all := append(append([]Offer{}, s.Offers.Ahead...), s.Offers.Configured...)
		if have := nearest(all, name, 3); len(have) > 0 {
			cause += "; it offers " + strings.Join(have, ", ")
		}
		if s.Offers.AheadError != "" {
			cause += fmt.Sprintf("; the repository of v1.%d could not be asked: %s", t.Version.Minor, s.Offers.AheadError)
		}
	}
	return t.cannot(step, KindVersionMissing, cause, hint)
}

// Describe says in what state a host is: its packages, its kubelet, its control plane.
func Describe(s State) string {
	var parts []string
	for _, name := range []string{PackageKubeadm, PackageKubelet, PackageKubectl} {
		if p, found := s.Packages.Get(name); found {
			parts = append(parts, "package "+name+" "+p.Version)
		}
	}
	if s.Packages.interrupted() {
		parts = append(parts, strings.TrimSpace("half-installed packages "+strings.Join(s.Packages.Broken, " ")))
	}
	if k := s.Kubelet; k != nil {
		switch {
		case k.PID == 0:
			parts = append(parts, "no running kubelet")
		case !k.Running.IsZero():
			parts = append(parts, "kubelet "+k.Running.String()+" running")
		}
	}
	if s.Pods != nil {
		for _, pod := range s.Pods.Static {
			image := pod.Image[strings.LastIndexByte(pod.Image, '/')+1:]
			text := image
			if problems := pod.problems(s.Pods.Listed); len(problems) > 0 {
				text += " (" + problems[0] + ")"
			}
			parts = append(parts, text)
		}
		for _, component := range displaced(s) {
			parts = append(parts, "no manifest of "+component)
		}
	}
	return strings.Join(parts, ", ")
}
