// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/skew"
)

// manifests puts back manifests that kubeadm had taken away when it was interrupted:
// it moves the old manifest of a component aside before it moves the new one in, and
// in between the component has none and does not run.
func (t Target) manifests() Step {
	return Step{
		Name: StepManifests, Stage: Turn, Changes: PartPods,
		Words: "put back manifests that an interrupted kubeadm took away",
		done: func(s State) bool {
			return s.Pods != nil && len(displaced(s)) == 0
		},
		actions: func(s State) ([]Action, error) {
			var actions []Action
			for _, component := range displaced(s) {
				actions = append(actions, Action{Argv: []string{
					"mv", "--no-clobber", "--", s.Pods.saved(component), manifestDir + "/" + component + ".yaml",
				}})
			}
			return actions, nil
		},
	}
}

// displaced are the components whose manifest is missing and was put aside.
func displaced(s State) []string {
	var missing []string
	for _, component := range append(Components(), etcdName) {
		if _, found := s.Pods.Get(component); !found && s.Pods != nil && s.Pods.saved(component) != "" {
			missing = append(missing, component)
		}
	}
	return missing
}

// upgrade runs kubeadm: upgrade apply on the first control plane, upgrade node on all
// others.
func (t Target) upgrade() Step {
	words := "run kubeadm upgrade node"
	argv := []string{"kubeadm", "upgrade", "node"}
	if t.Role == FirstControlPlane {
		words = "run kubeadm upgrade apply " + t.Version.String()
		argv = []string{"kubeadm", "upgrade", "apply", t.Version.String(), "--yes"}
		if t.Version.Prerelease() {
			argv = append(argv, "--allow-experimental-upgrades")
		}
	}
	if len(t.IgnorePreflight) > 0 {
		argv = append(argv, "--ignore-preflight-errors="+strings.Join(t.IgnorePreflight, ","))
	}
	if t.Patches != "" {
		argv = append(argv, "--patches="+t.Patches)
	}
	return Step{
		Name: StepUpgrade, Stage: Turn, Changes: PartPods | PartKubelet | PartCopies | PartCertificates, Words: words,
		done: func(s State) bool {
			return t.KubeadmDone && (!t.Role.controlPlane() || len(staticPods(t, s)) == 0)
		},
		actions: func(s State) ([]Action, error) {
			installed, _ := s.Packages.Get(PackageKubeadm)
			if v, ok := installed.Upstream(); ok && newer(v, t.Version) {
				return nil, t.cannot(StepUpgrade, KindNewer, fmt.Sprintf("kubeadm %s is installed, which cannot upgrade to %s", installed.Version, t.Version),
					"plan with a version that is not older than the packages")
			}
			a := t.action(StepUpgrade, command{argv: argv})
			a.once = true
			return []Action{a}, nil
		},
	}
}

// kubelet installs the packages of kubelet and, where it was before, kubectl.
func (t Target) kubelet() Step {
	return t.install(StepKubelet, Empty, func(s State) []string { return t.packages(s)[1:] })
}

// restart makes the kubelet the one that is installed.
func (t Target) restart() Step {
	return Step{
		Name: StepRestart, Stage: Empty, Changes: PartKubelet | PartPods,
		Words: "restart the kubelet",
		done: func(s State) bool {
			k := s.Kubelet
			return k != nil && k.PID > 0 && k.Running == t.Version && !k.Replaced && !k.NeedsReload
		},
		actions: func(State) ([]Action, error) {
			return []Action{
				{Argv: []string{"systemctl", "daemon-reload"}},
				{Argv: []string{"systemctl", "restart", "kubelet.service"}},
			}, nil
		},
	}
}

// holds holds again what was held. Each installation does so by itself; this step is
// for what a loss of power in the middle of one has left.
func (t Target) holds() Step {
	return Step{
		Name: StepHolds, Stage: After, Changes: PartPackages,
		Words: "hold the packages that were held before",
		done: func(s State) bool {
			return s.Packages != nil && len(t.unheld(s)) == 0
		},
		actions: func(s State) ([]Action, error) {
			c := managed(s).hold(t.unheld(s))
			return []Action{{Argv: c.argv, Env: c.env}}, nil
		},
	}
}

// unheld are the packages that have to be held and are not.
func (t Target) unheld(s State) []string {
	var names []string
	for _, name := range t.held(s) {
		if installed, found := s.Packages.Get(name); found && !installed.Held {
			names = append(names, name)
		}
	}
	return names
}

// clean removes the copies of etcd's data that kubeadm left.
func (t Target) clean() Step {
	return Step{
		Name: StepClean, Stage: After, Changes: PartCopies | PartDisks,
		Words: "remove the copies of etcd's data that kubeadm left in " + tmpDir,
		done: func(s State) bool {
			return s.Looked()&PartCopies != 0 && len(s.Copies) == 0
		},
		actions: func(s State) ([]Action, error) {
			// As long as the control plane is not at its version, they may be needed.
			if problems := staticPods(t, s); len(problems) > 0 {
				return nil, t.cannot(StepClean, KindNotAtVersion, strings.Join(problems, "; "), "the copies are kept; resume the upgrade first")
			}
			argv := []string{"rm", "--recursive", "--force", "--one-file-system", "--"}
			for _, c := range s.Copies {
				if !strings.HasPrefix(c.Path, copyPrefix) || strings.Contains(c.Path[len(copyPrefix):], "/") {
					return nil, t.cannot(StepClean, KindOther, c.Path+" is not a copy that kubeadm makes", "remove it by hand if it is not needed")
				}
				argv = append(argv, c.Path)
			}
			return []Action{{Argv: argv}}, nil
		},
	}
}

// staticPods says what of the control plane is not as the target wants it, a sentence
// each; nothing if all is.
func staticPods(t Target, s State) []string {
	if s.Pods == nil {
		return []string{"the static pods were not looked at"}
	}
	var problems []string
	for _, component := range Components() {
		pod, found := s.Pods.Get(component)
		if !found {
			problem := fmt.Sprintf("%s has no manifest in %s", component, manifestDir)
			if saved := s.Pods.saved(component); saved != "" {
				problem += "; kubeadm has put it aside as " + saved
			}
			problems = append(problems, problem)
			continue
		}
		if v, err := skew.ParseImage(pod.Image); err != nil || v != t.Version {
			problems = append(problems, fmt.Sprintf("the manifest of %s names the image %s", component, pod.Image))
			continue
		}
		problems = append(problems, pod.problems(s.Pods.Listed)...)
	}
	if pod, found := s.Pods.Get(etcdName); found {
		problems = append(problems, pod.problems(s.Pods.Listed)...)
	}
	return problems
}

// problems says what is wrong with what runs of the pod, as far as that is known.
func (p StaticPod) problems(listed bool) []string {
	switch {
	case !listed:
		return nil
	case p.Running == nil:
		return []string{p.Component + " does not run"}
	case !sameImage(p.Running.Image, p.Image):
		return []string{fmt.Sprintf("%s runs from the image %s, its manifest names %s", p.Component, p.Running.Image, p.Image)}
	}
	return nil
}

// StaticPodProblems says which static pods do not run as their manifests say, and which
// components of a control plane have no manifest although others have; a sentence each. What
// an interrupted kubeadm has put aside is no problem: a step of the upgrade puts it back.
func StaticPodProblems(s State) []string {
	var list []string
	if s.Pods == nil || len(s.Pods.Static) == 0 {
		return nil
	}
	for _, component := range Components() {
		if _, found := s.Pods.Get(component); !found && s.Pods.saved(component) == "" {
			list = append(list, fmt.Sprintf("%s has no manifest in %s", component, manifestDir))
		}
	}
	for _, pod := range s.Pods.Static {
		list = append(list, pod.problems(s.Pods.Listed)...)
	}
	return list
}

// sameImage compares the image of a container as the runtime tells it with the one
// that was asked for. Runtimes that only tell an ID cannot be compared.
func sameImage(running, wanted string) bool {
	return running == wanted || strings.HasPrefix(running, "sha256:") || !strings.ContainsAny(running, ":/")
}

// VerifyPlane says what of a control plane is not as the target wants it, a sentence each:
// its static pods run from the target's images, their kubelet will not make them anew, and
// they answer. It wants PartPods, PartKubelet and PartHealth.
func VerifyPlane(t Target, s State) []string {
	return slices.Concat(staticPods(t, s), unsettled(s), s.Health.problems())
}

// settled is for how long a kubelet runs before static pods that were there before it are
// taken for those that it wants. Another minor computes another hash of the same manifest;
// then the kubelet ends the pod and makes it anew, as soon as it has read the Pods of its
// node and looked for those that nobody wants (housekeepingPeriod, 2s, in
// pkg/kubelet/kubelet.go): some seconds after its start.
const settled = 30 * time.Second

// unsettled says which static pods the kubelet, which was started a moment ago, may make anew.
func unsettled(s State) []string {
	k := s.Kubelet
	if s.Pods == nil || k == nil || k.Started.IsZero() || k.Up >= settled {
		return nil
	}
	var problems []string
	for _, pod := range s.Pods.Static {
		if c := pod.Running; c != nil && !c.Started.IsZero() && c.Started.Before(k.Started) {
			problems = append(problems, fmt.Sprintf("the kubelet was started %s ago, and may make %s anew", k.Up, pod.Component))
		}
	}
	return problems
}

// Verify says what of the host is not as the target wants it after all steps, a
// sentence each, sorted by component; nothing if all is. It wants PartPackages,
// PartKubelet and, on a control plane, PartPods and PartHealth.
func Verify(t Target, s State) []string {
	var problems []string
	if t.Role.controlPlane() {
		problems = VerifyPlane(t, s)
	}
	switch k := s.Kubelet; {
	case k == nil:
		problems = append(problems, "the kubelet was not looked at")
	case k.PID == 0:
		problems = append(problems, "the kubelet does not run: "+k.Active)
	case k.Running != t.Version:
		problems = append(problems, fmt.Sprintf("the kubelet that runs is %s", k.Running))
	case k.Replaced:
		problems = append(problems, "the kubelet's program was replaced since it was started")
	}
	for _, name := range t.packages(s) {
		installed, found := s.Packages.Get(name)
		if v, ok := installed.Upstream(); !found || !ok || v != t.Version {
			problems = append(problems, fmt.Sprintf("the package %s is at %s", name, orNone(installed.Version)))
		}
	}
	for _, name := range t.unheld(s) {
		problems = append(problems, "the package "+name+" was held and is not")
	}
	return problems
}

func orNone(version string) string {
	if version == "" {
		return "no version"
	}
	return version
}
