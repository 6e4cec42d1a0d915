// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

import (
	"fmt"
	"slices"
)

// Reason is why there is no Path; its name is stable.
type Reason string

// The reasons.
const (
	// ReasonUnknown: nothing is known of the API servers, or the goal has no version.
	ReasonUnknown Reason = "unknown-version"
	// ReasonDowngrade: API servers are newer than the goal already.
	ReasonDowngrade Reason = "downgrade"
	// ReasonTooNew: another component is of a newer minor than the goal.
	ReasonTooNew Reason = "component-too-new"
	// ReasonSkippedMinor: API servers are more than one minor apart, so that somebody
	// has left out a minor.
	ReasonSkippedMinor Reason = "skipped-minor"
	// ReasonUnsupported: the goal gets no fixes any more, or is not released yet.
	ReasonUnsupported Reason = "unsupported-goal"
	// ReasonFallsBehind: a component that is not moved by kubeadm would become too old.
	ReasonFallsBehind Reason = "component-falls-behind"
)

// Refusal is one reason why there is no Path.
type Refusal struct {
	Reason Reason
	// Component and Instance are what it is about; zero for the goal itself.
	Component Component
	Instance  Instance
	// Message says what is the case, Hint what to do about it.
	Message string
	Hint    string
}

// refuse lists what keeps a cluster from a goal.
func refuse(c Components, goal Goal) []Refusal {
	if len(c.APIServers) == 0 || goal.Version.IsZero() {
		return []Refusal{{Reason: ReasonUnknown, Message: "no version of an API server is known, or no version is wanted",
			Hint: "a path begins at the version that the API servers run"}}
	}
	refusals := refuseGoal(c, goal)
	servers := sorted(c.APIServers)
	newest := newestOf(servers)
	for _, i := range servers {
		switch {
		case newest.Minor-i.minor() > 1:
			refusals = append(refusals, Refusal{Reason: ReasonSkippedMinor, Component: APIServer, Instance: i,
				Message: fmt.Sprintf("%s is %d minors older than the newest API server, %s: a minor was skipped, and kubeadm takes one at a time",
					i.describe(APIServer), newest.Minor-i.minor(), newest),
				Hint: fmt.Sprintf("take the node %s out of the control plane (kubeadm reset), and join it again at %s", i.Name, newest)})
		case i.minor() > goal.Version.Minor || i.minor() == goal.Version.Minor && i.Version.Minor == i.minor() && i.Version.Compare(goal.Version) > 0:
			refusals = append(refusals, Refusal{Reason: ReasonDowngrade, Component: APIServer, Instance: i,
				Message: fmt.Sprintf("%s is newer than %s: what newer API servers have written, older ones may not be able to read", i.describe(APIServer), goal.Version),
				Hint:    downgradeHint(servers, newest)})
		}
	}
	for _, g := range c.groups() {
		if g.component == APIServer || g.component == Kubectl {
			continue
		}
		for _, i := range sorted(g.instances) {
			// What is as new as API servers that are too new came with them: those have been told.
			if i.minor() > goal.Version.Minor && i.minor() > newest.Minor {
				refusals = append(refusals, Refusal{Reason: ReasonTooNew, Component: g.component, Instance: i,
					Message: fmt.Sprintf("%s is of a newer minor than %s", i.describe(g.component), goal.Version),
					Hint:    fmt.Sprintf("upgrade to 1.%d, or put %s back to 1.%d or older", i.minor(), g.component, goal.Version.Minor)})
			}
		}
	}
	return append(refusals, refuseLate(c, goal)...)
}

func refuseGoal(c Components, goal Goal) []Refusal {
	supported := Supported(c.newest())
	if goal.AllowUnsupported {
		return nil
	}
	switch v := goal.Version; {
	case v.Prerelease():
		return []Refusal{{Reason: ReasonUnsupported, Message: fmt.Sprintf("%s is not a release", v),
			Hint: "choose a release; if this is a cluster to lose, allow it"}}
	case v.Minor < supported.Oldest:
		return []Refusal{{Reason: ReasonUnsupported, Message: fmt.Sprintf("1.%d gets no fixes any more: supported are %s", v.Minor, supported),
			Hint: fmt.Sprintf("aim at %s; the way leads through the minors between", supported)}}
	}
	return nil
}

func downgradeHint(servers []Instance, newest Version) string {
	if slices.ContainsFunc(servers, func(i Instance) bool { return i.Version.Compare(newest) != 0 }) {
		return fmt.Sprintf("an upgrade to %s was begun: finish it", newest)
	}
	return fmt.Sprintf("aim at %s or newer; to go back for good, restore a backup of etcd", newest)
}

// refuseLate finds cloud controller managers that the API servers would leave
// behind: the provider's installation moves them, and not kubeadm.
func refuseLate(c Components, goal Goal) []Refusal {
	oldest := oldestOf(c.APIServers).Minor
	if goal.Version.Minor == oldest {
		return nil
	}
	var refusals []Refusal
	for _, i := range sorted(c.CloudControllerManagers) {
		if goal.Version.Minor-i.minor() <= 1 {
			continue
		}
		wanted := min(i.minor()+1, goal.Version.Minor-1)
		hint := fmt.Sprintf("bring it to 1.%d first, as its provider says", max(oldest, wanted))
		if oldest < goal.Version.Minor-1 {
			hint = fmt.Sprintf("go to 1.%d first, then bring it there as its provider says, then go on", max(oldest, wanted))
		}
		refusals = append(refusals, Refusal{Reason: ReasonFallsBehind, Component: CloudControllerManager, Instance: i,
			Message: fmt.Sprintf("%s may be at most 1 minor older than the API servers, and kubeadm does not move it", i.describe(CloudControllerManager)),
			Hint:    hint})
	}
	return refusals
}
