// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"refit.dev/refit/host"
	"refit.dev/refit/host/service"
)

// Runner runs a program that ends by itself, and returns its exit status and what it wrote.
type Runner func(ctx context.Context, argv []string) (code int, output string, err error)

// On runs programs on a machine.
func On(m host.Machine) Runner {
	return func(ctx context.Context, argv []string) (int, string, error) {
		result, err := (&reader{m: m}).run(ctx, argv...)
		return result.Code, string(result.Stderr) + string(result.Stdout), err
	}
}

// Asked is what a binary has said.
type Asked struct {
	// Version is its own: v1.37.2, 3.7.3; "" if it does not say.
	Version string
	// Problems are why it would not start with what the unit says, a sentence each.
	Problems []string
}

// none is a file that is not there, so that a kubelet that is only asked ends.
const none = "/nonexistent/refit"

var (
	unknownFlag = regexp.MustCompile(`(?:unknown flag: -*|unknown shorthand flag: '.' in -*|flag provided but not defined: -*)([A-Za-z0-9._-]+)`)
	unknownGate = regexp.MustCompile(`(?:unrecognized feature gate: |cannot set feature gate )(?:[a-z-]+:)?([A-Za-z0-9]+)`)
)

// mostQuestions is how often a binary is asked at most.
const mostQuestions = 100

// Ask asks the binary at program on whether it would start with what a unit starts now. It
// asks with --version, by which every component ends at once: flags, and for the control plane
// feature gates, are read before that (k8s.io/kubernetes/cmd/*/app, go.etcd.io/etcd/server/v3/
// etcdmain). A kubelet and a kube-proxy are asked for each gate by itself: the former with a
// configuration that is not there, the latter with --write-config-to, by which they end before
// they do anything.
func Ask(ctx context.Context, run Runner, program string, u Unit) (Asked, error) {
	var a Asked
	code, text, err := run(ctx, []string{program, "--version"})
	if err != nil {
		return a, err
	}
	if a.Version = parseVersion(text); code != 0 || a.Version == "" {
		a.Problems = append(a.Problems, "does not say which version it is: "+lastLine(text))
		return a, nil
	}
	flags := u.asked()
	for range mostQuestions {
		code, text, err := run(ctx, slices.Concat([]string{program, "--version"}, flags))
		if err != nil {
			return a, err
		}
		if code == 0 {
			break
		}
		problem, rest := refused(text, flags)
		a.Problems = append(a.Problems, problem)
		if flags = rest; rest == nil {
			break
		}
	}
	more, err := askGates(ctx, run, program, u)
	a.Problems = append(a.Problems, more...)
	return a, err
}

// asked are the flags that stand in the unit itself.
func (u *Unit) asked() []string { return service.Flags(u.Service.Argv[1:]) }

// refused says what a binary has against flags, and which are left to ask for; nil if that
// cannot be told.
func refused(text string, flags []string) (problem string, rest []string) {
	if found := unknownFlag.FindStringSubmatch(text); found != nil {
		rest = slices.DeleteFunc(slices.Clone(flags), func(flag string) bool {
			name, _, _ := strings.Cut(flag, "=")
			return name == "--"+found[1]
		})
		if len(rest) < len(flags) {
			return "does not know the flag --" + found[1], slices.Concat([]string{}, rest)
		}
	}
	if found := unknownGate.FindStringSubmatch(text); found != nil {
		if rest, changed := withoutGate(flags, found[1]); changed {
			return gateProblem(text, found[1]), rest
		}
	}
	return "does not start with what its unit says: " + lastLine(text), nil
}

// gateProblem is what is wrong with a feature gate.
func gateProblem(text, gate string) string {
	if strings.Contains(text, "cannot set feature gate") {
		return "does not let the feature gate " + gate + " be set as it is"
	}
	return "does not know the feature gate " + gate
}

// withoutGate takes a gate off --feature-gates.
func withoutGate(flags []string, gate string) (rest []string, changed bool) {
	rest = []string{}
	for _, flag := range flags {
		value, found := strings.CutPrefix(flag, "--feature-gates=")
		if !found {
			rest = append(rest, flag)
			continue
		}
		kept := slices.DeleteFunc(strings.Split(value, ","), func(pair string) bool {
			name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
			return name[strings.LastIndexByte(name, ':')+1:] == gate
		})
		changed = changed || len(kept) < len(strings.Split(value, ","))
		if len(kept) > 0 {
			rest = append(rest, "--feature-gates="+strings.Join(kept, ","))
		}
	}
	return rest, changed
}

// askGates asks for the gates that --version does not look at.
func askGates(ctx context.Context, run Runner, program string, u Unit) (problems []string, err error) {
	end, asks := map[string]string{Kubelet: "--config=" + none, KubeProxy: "--write-config-to=/dev/null"}[u.Component]
	if !asks {
		return nil, nil
	}
	for _, gate := range slices.Sorted(maps.Keys(u.Gates)) {
		_, text, err := run(ctx, []string{program, "--feature-gates=" + gate + "=" + strconv.FormatBool(u.Gates[gate]), end})
		if err != nil {
			return nil, err
		}
		if unknownGate.MatchString(text) {
			problems = append(problems, gateProblem(text, gate))
		}
	}
	return problems, nil
}

// lastLine is the last line that says something, not too long.
func lastLine(text string) string {
	last := "it says nothing"
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			last = fmt.Sprintf("%.300s", line)
		}
	}
	return last
}
