// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"regexp"
	"slices"
	"strings"
)

// rule recognises a failure in what a command wrote. $1 in cause and hint is what the
// pattern's first group matched.
type rule struct {
	kind  Kind
	match *regexp.Regexp
	cause string
	hint  string
}

const (
	hintResume  = "once that is mended, resume the run: it carries on with this step"
	hintNetwork = "look at the network of the host, its proxy, and the repository's server; then resume"
)

// packageRules know apt, dpkg, dnf and rpm. The first that matches a line counts,
// rules before lines.
func packageRules() []rule {
	return []rule{
		{
			KindLocked, regexp.MustCompile(`(?:Could not get lock|Unable to acquire the dpkg frontend lock|Unable to lock directory) ?\(?(\S*?)[.,)]?(?:$| .*)`),
			"somebody else works with the package manager: $0",
			"wait until it is done (unattended-upgrades can take some minutes), or end it, then resume",
		},
		{
			KindDiskFull, regexp.MustCompile(`(?i)no space left on device|You don't have enough free space in \S*[^\s./]|more space needed on the (\S+) filesystem`),
			"the disk is full: $0",
			"make room (apt-get clean, crictl rmi --prune, old copies in " + tmpDir + "); " + hintResume,
		},
		{
			KindBroken, regexp.MustCompile(`dpkg was interrupted, you must manually run`),
			"dpkg was interrupted in the middle of its work",
			"resume: its work is ended first (dpkg --configure --pending)",
		},
		{
			KindDependencies, regexp.MustCompile(`All matches were filtered out by exclude filtering.*`),
			"dnf leaves the package out: $0",
			"look for exclude= in /etc/dnf/dnf.conf and in other repositories, and at dnf versionlock list; " + hintResume,
		},
		{
			KindVersionMissing, regexp.MustCompile(`Version '([^']+)' for '[^']+' was not found|Unable to find a match: (\S+)|No match for argument: (\S+)|Unable to locate package (\S+)`),
			"the repository does not have the version: $0",
			"look at what the repository serves to this host, then resume",
		},
		{
			KindDependencies, regexp.MustCompile(`The following packages have unmet dependencies|Packages need to be removed but remove is disabled|Held packages were changed|conflicting requests|nothing provides (\S+)|pkgProblemResolver::Resolve generated breaks`),
			"the packages do not fit together: $0",
			"see the output for what is in the way (often a package that is held, or another repository of the same packages); " + hintResume,
		},
		{
			KindSignature, regexp.MustCompile(`(?:NO_PUBKEY|EXPKEYSIG|KEYEXPIRED).*|is not signed|signatures couldn't be verified|GPG check FAILED|Public key for (\S+) is not installed`),
			"the repository's signature was not accepted: $0",
			"renew the repository's key as https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/ says, then resume",
		},
		{
			KindDownload, regexp.MustCompile(`Failed to fetch (\S+)|Could not resolve.*|Unable to connect to.*|Hash Sum mismatch.*|Curl error.*|Cannot download|Failed to download metadata|does not have a Release file|Connection timed out`),
			"the repository could not be read: $0",
			hintNetwork,
		},
	}
}

// kubeadmRules know kubeadm's messages; see cmd/kubeadm/app in kubernetes/kubernetes.
func kubeadmRules() []rule {
	return []rule{
		{
			KindDiskFull, regexp.MustCompile(`(?i)no space left on device`),
			"the disk is full: kubeadm copies etcd's data to " + tmpDir + " on every attempt",
			"remove old copies (" + copyPrefix + "*) or make room otherwise; " + hintResume,
		},
		{
			KindEtcd, regexp.MustCompile(`fatal error rolling back local etcd cluster.*\((/\S+)\)`),
			"etcd could not be brought back; kubeadm's copy of its data is $1",
			"do not resume: look at etcd's container and data on this host first (crictl logs), and restore the member or its data from that copy or from a backup",
		},
		{
			KindEtcd, regexp.MustCompile(`etcd cluster is not healthy.*|fatal error when trying to upgrade the etcd cluster.*|fatal error upgrading local etcd cluster.*`),
			"etcd is not healthy, or its upgrade was taken back: $0",
			"look at the members (etcdctl endpoint health --cluster) and at etcd's container on this host, then resume",
		},
		{
			KindStaticPod, regexp.MustCompile(`static Pod hash for component (\S+) on Node \S+ did not change after ([0-9a-z.]+)`),
			"the kubelet did not restart $1 within $2, and kubeadm has put the earlier manifests back",
			"look at the kubelet's log (journalctl -u kubelet) and at the container (crictl ps -a --name $1); " + hintResume,
		},
		{
			KindStaticPod, regexp.MustCompile(`couldn't upgrade control plane\. kubeadm has tried to recover everything into the earlier state`),
			"the control plane of the host could not be upgraded, and kubeadm has put the earlier manifests back",
			"see the output for the component, and its container's log (crictl ps -a, crictl logs); " + hintResume,
		},
		{
			KindPreflight, regexp.MustCompile(`did not complete in (\S+)|could not create Job`),
			"kubeadm's trial pod did not run: $0",
			"kubeadm runs a pod (Job upgrade-health-check in kube-system) on a node that can be scheduled on: look at why there is none, then resume",
		},
		{
			KindUnreachable, regexp.MustCompile(`couldn't create a Kubernetes client|connection refused|i/o timeout|the ConfigMap "kubeadm-config" .* was not found|Unable to fetch cluster version|failed to get config map`),
			"kubeadm could not read from the API server: $0",
			"look at the API server that /etc/kubernetes/admin.conf (on a worker kubelet.conf) names; " + hintResume,
		},
	}
}

// apply returns the failure if the rule matches one of the lines.
func (r rule) apply(output []string) (Failure, bool) {
	for _, line := range output {
		m := r.match.FindStringSubmatchIndex(line)
		if m == nil {
			continue
		}
		expand := func(template string) string {
			return strings.TrimSpace(string(r.match.ExpandString(nil, template, line, m)))
		}
		return Failure{Kind: r.kind, Cause: strings.TrimRight(expand(r.cause), ": "), Hint: expand(r.hint)}, true
	}
	return Failure{}, false
}

// explain makes a failure of what the command of a step wrote.
func explain(step StepName, status string, output []string) *Failure {
	rules := packageRules()
	if step == StepUpgrade || step == StepImages {
		rules = kubeadmRules()
		if checks := parsePreflight(output); len(checks) > 0 {
			return preflightFailure(step, checks)
		}
		if reasons := parsePolicy(output); len(reasons) > 0 {
			return &Failure{
				Step: step, Kind: KindPolicy, Cause: "kubeadm refuses the version: " + strings.Join(reasons, "; "),
				Hint: "plan again from what the cluster runs now; " + hintResume,
			}
		}
	}
	for _, r := range rules {
		if f, found := r.apply(output); found {
			f.Step = step
			return &f
		}
	}
	cause := "the command " + status
	if last := lastError(output); last != "" {
		cause += ": " + last
	}
	return &Failure{Step: step, Kind: KindOther, Cause: cause, Hint: "see its output; " + hintResume}
}

func preflightFailure(step StepName, checks []PreflightError) *Failure {
	var names, texts []string
	for _, c := range checks {
		names = append(names, c.Name)
		texts = append(texts, c.Name+" ("+c.Message+")")
	}
	kind := KindPreflight
	if slices.ContainsFunc(checks, func(c PreflightError) bool {
		return c.Name == "ImagePull" && strings.Contains(c.Message, "no space left on device")
	}) {
		kind = KindDiskFull
	}
	return &Failure{
		Step: step, Kind: kind, Preflight: checks,
		Cause: "checks of kubeadm failed before it changed anything: " + strings.Join(texts, "; "),
		Hint:  "mend them and resume; a check that may be ignored can be named: --ignore-preflight-errors=" + strings.Join(names, ","),
	}
}

var preflightLine = regexp.MustCompile(`^\s*\[ERROR ([^\]]+)\]: (.*)$`)

// parsePreflight reads kubeadm's "[ERROR Name]: message" lines; lines that follow one
// without a mark of their own belong to its message.
func parsePreflight(output []string) []PreflightError {
	var checks []PreflightError
	open := false
	for _, line := range output {
		if m := preflightLine.FindStringSubmatch(line); m != nil {
			checks = append(checks, PreflightError{Name: m[1], Message: strings.TrimSpace(m[2])})
			open = true
			continue
		}
		if text := strings.TrimSpace(line); !open || text == "" || strings.HasPrefix(text, "[") || strings.HasPrefix(text, "error:") {
			open = false
			continue
		}
		last := &checks[len(checks)-1]
		last.Message += " " + strings.TrimSpace(line)
	}
	return checks
}

// parsePolicy reads the list under "the version argument is invalid due to these".
func parsePolicy(output []string) []string {
	var reasons []string
	open := false
	for _, line := range output {
		text := strings.TrimSpace(line)
		switch reason, isReason := strings.CutPrefix(text, "- "); {
		case strings.Contains(text, "the version argument is invalid due to these"):
			open = true
		case open && isReason:
			reasons = append(reasons, reason)
		case text != "":
			open = false
		}
	}
	return reasons
}

// lastError returns the last line that looks like an error, else the last line.
func lastError(output []string) string {
	last := ""
	for _, line := range slices.Backward(output) {
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "To see the stack trace") {
			continue
		}
		if strings.HasPrefix(text, "E: ") || strings.HasPrefix(strings.ToLower(text), "error") {
			return text
		}
		if last == "" {
			last = text
		}
	}
	return last
}
